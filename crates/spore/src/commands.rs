//! One file per verb. Each parses nothing and decides nothing: it calls a library and prints what comes back.

pub(crate) mod bake;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod eval;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod fsck;
pub(crate) mod hub;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod supervise;
pub(crate) mod tag;
pub(crate) mod version;
