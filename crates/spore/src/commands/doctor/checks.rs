//! What is looked for. Looking and judging are apart: what judges takes what was found, and can be tested.

use std::fs;
use std::os::unix::fs::MetadataExt;

use engine::qemu::{Options as QemuOptions, Qemu};
use host::Enforced;
use rootfs::{ToolStatus, UserNamespaces, tools};
use store::Store;
use store::mend::{WrongMode, wrong_modes};

use super::{Check, Remedy, State};
use crate::error::CliError;
use crate::options::Options;
use crate::{context, output};

mod qemu;

const FORKS: &str = "running forks";
const USER_BAKES: &str = "bakes without root";

/// Less free space than this is soon gone: a snapshot's flat files take about as much as its memory.
const LITTLE_SPACE: u64 = 2 << 30;

/// What was found.
pub(super) struct Report {
    /// All requirements, those of forks first.
    pub(super) checks: Vec<Check>,
    /// The Debian packages of all that is missing.
    pub(super) packages: Vec<&'static str>,
}

pub(super) fn report(options: &Options) -> Report {
    let store = context::store(options);
    let modes = context::root(options).ok().and_then(|root| wrong_modes(&root).ok()).unwrap_or_default();
    let tools = tools();
    let mut checks = qemu::engine(store.as_ref().ok());
    let dead = store.as_ref().ok().map(dead);
    checks.push(qemu::judge_confinement(Enforced::here()));
    checks.extend(root(store));
    checks.push(judge_modes(&modes));
    checks.extend(dead.map(judge_dead));
    checks.extend(tools.iter().map(|tool| judge_tool(tool, is_root())));
    if !is_root() {
        let user = UserNamespaces::of_this_user();
        checks.push(judge_subordinate_ids(&user));
        checks.push(judge_namespaces(&user));
    }
    Report { checks, packages: packages(&tools) }
}

/// The Debian packages of all that is missing.
pub(super) fn missing_packages() -> Vec<&'static str> {
    packages(&tools())
}

fn packages(tools: &[ToolStatus]) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        tools.iter().filter(|tool| !is_fine(tool, is_root())).map(|tool| tool.package).collect();
    if Qemu::discover(QemuOptions::default()).is_err() {
        packages.push("qemu-system-x86");
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The command that installs packages on Debian 12.
pub(super) fn apt(packages: &[&str]) -> Remedy {
    let sudo = if is_root() { "" } else { "sudo " };
    Remedy::Command(format!("{sudo}apt-get install -y --no-install-recommends {}", packages.join(" ")))
}

pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// How many sandboxes are dead.
fn dead(store: &Store) -> Result<usize, sandbox::Error> {
    let is_dead = |sandbox: &sandbox::Sandbox| matches!(sandbox.status, sandbox::Status::Dead { .. });
    Ok(sandbox::list(store)?.iter().filter(|sandbox| is_dead(sandbox)).count())
}

fn judge_dead(dead: Result<usize, sandbox::Error>) -> Check {
    let (state, found, remedy) = match dead {
        Ok(0) => (State::Ok, "none".to_owned(), None),
        Ok(count) => (
            State::Warning,
            format!("{count}, kept for their logs (`spore ps --all`)"),
            Some(Remedy::Command("spore doctor --fix".to_owned())),
        ),
        Err(error) => (
            State::Warning,
            error.to_string(),
            Some(Remedy::Advice("`spore fsck` says what is wrong with the store".to_owned())),
        ),
    };
    Check { name: "dead sandboxes".into(), state, for_forks: true, purpose: FORKS, found, remedy }
}

fn judge_modes(wrong: &[WrongMode]) -> Check {
    let (state, found) = match wrong {
        [] => (State::Ok, "for this user alone".to_owned()),
        [first, rest @ ..] => {
            let WrongMode { path, mode } = first;
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            (State::Warning, format!("{} has {mode:04o}{more}: expected 0700", path.display()))
        }
    };
    let remedy = (state != State::Ok).then(|| Remedy::Command("spore doctor --fix".to_owned()));
    Check { name: "folder modes".into(), state, for_forks: true, purpose: FORKS, found, remedy }
}

fn advice(text: &str) -> Remedy {
    Remedy::Advice(text.to_owned())
}

/// Whether the store can be written, and what fits.
fn root(store: Result<Store, CliError>) -> Vec<Check> {
    let check = |name: &str, state, found, remedy| Check {
        name: name.into(),
        state,
        for_forks: true,
        purpose: FORKS,
        found,
        remedy,
    };
    // A lease is the smallest thing that every verb writes.
    let opened = store.and_then(|store| Ok((store.lease().map(drop)?, store.free_space()?, store)));
    match opened {
        Err(error) => {
            let elsewhere = advice("give another folder by --root or SPORE_ROOT");
            vec![check("root folder", State::Missing, error.to_string(), Some(elsewhere))]
        }
        Ok(((), free, store)) => {
            let found = format!("{}, one filesystem, writable", store.root().display());
            let (state, remedy) = match free < LITTLE_SPACE {
                true => (
                    State::Warning,
                    Some(advice("spore prune --all, or another folder by --root or SPORE_ROOT")),
                ),
                false => (State::Ok, None),
            };
            vec![
                check("root folder", State::Ok, found, None),
                check("free space", state, output::size(free), remedy),
            ]
        }
    }
}

/// Root needs no maps of ids.
fn is_fine(tool: &ToolStatus, is_root: bool) -> bool {
    tool.usable || (is_root && tool.program == "newuidmap")
}

fn judge_tool(tool: &ToolStatus, is_root: bool) -> Check {
    let version = tool.version.as_deref().map(|version| format!("{version} at ")).unwrap_or_default();
    let found = match (&tool.path, tool.needed) {
        (Some(path), Some(needed)) if !tool.usable => {
            format!("{version}{}: {needed} or later is needed", path.display())
        }
        (Some(path), _) => format!("{version}{}", path.display()),
        (None, _) if is_fine(tool, is_root) => "not there; root does not need it".to_owned(),
        (None, _) => "not there".to_owned(),
    };
    let is_fine = is_fine(tool, is_root);
    Check {
        name: tool.program.into(),
        state: if is_fine { State::Ok } else { State::Missing },
        for_forks: false,
        purpose: tool.purpose,
        found,
        remedy: (!is_fine).then(|| apt(&[tool.package])),
    }
}

fn judge_subordinate_ids(user: &UserNamespaces) -> Check {
    let UserNamespaces { user: name, subordinate_ids: count, .. } = user;
    let is_enough = *count >= UserNamespaces::NEEDED_IDS;
    Check {
        name: "subordinate ids".into(),
        state: if is_enough { State::Ok } else { State::Missing },
        for_forks: false,
        purpose: USER_BAKES,
        found: format!(
            "{count} for {name} in /etc/subuid and /etc/subgid; {} are needed",
            UserNamespaces::NEEDED_IDS
        ),
        remedy: (!is_enough).then(|| {
            let range = "100000-165535";
            Remedy::Command(format!("sudo usermod --add-subuids {range} --add-subgids {range} {name}"))
        }),
    }
}

fn judge_namespaces(user: &UserNamespaces) -> Check {
    let (state, found) = match &user.refused {
        None => (State::Ok, "can be made".to_owned()),
        Some(reason) => (State::Missing, reason.clone()),
    };
    Check {
        name: "user namespaces".into(),
        state,
        for_forks: false,
        purpose: USER_BAKES,
        found,
        remedy: (state != State::Ok).then(|| {
            advice(
                "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000, or bake as root; \
                 in a chroot none can be made",
            )
        }),
    }
}

#[cfg(test)]
mod tests;
