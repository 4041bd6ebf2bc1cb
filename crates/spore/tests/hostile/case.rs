//! Forged snapshots, and how each is to be found out, by whichever way it comes.

use crate::forge::Draft;

/// How a snapshot is brought to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// `spore pull`, from a folder.
    Hub,
    /// `spore unpack`, of a file.
    Pack,
}

/// When a forgery is to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// When it is read: nothing of it is stored.
    Arrival,
    /// When it is laid out, be it on arrival or by the first fork: what cannot be known before all bytes are read.
    Layout,
    /// When it is forked: what concerns this host.
    Fork,
}

/// The exit code, and words that are said.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    pub code: i32,
    pub says: &'static [&'static str],
}

/// A forgery, and how it is to be found out.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub what: &'static str,
    pub stage: Stage,
    pub forge: fn(&mut Draft),
    by_pull: Verdict,
    by_unpack: Verdict,
}

impl Case {
    fn new(
        stage: Stage,
        what: &'static str,
        code: i32,
        says: &'static [&'static str],
        forge: fn(&mut Draft),
    ) -> Self {
        let verdict = Verdict { code, says };
        Self { what, stage, forge, by_pull: verdict, by_unpack: verdict }
    }

    /// Where a hub is told of it otherwise than the file is refused.
    pub fn pull_exits_with(mut self, code: i32) -> Self {
        self.by_pull.code = code;
        self
    }

    /// Where something else is wrong with it in a pack, which declares and has all sizes twice, or with the sample that packs
    /// hold, of which no disk is longer than a few pages.
    pub fn unpack_says(mut self, says: &'static [&'static str]) -> Self {
        self.by_unpack.says = says;
        self
    }

    pub fn verdict(&self, carrier: Carrier) -> Verdict {
        match carrier {
            Carrier::Hub => self.by_pull,
            Carrier::Pack => self.by_unpack,
        }
    }
}

/// What is refused on arrival because it is not what it says.
pub fn arrival(what: &'static str, says: &'static [&'static str], forge: fn(&mut Draft)) -> Case {
    Case::new(Stage::Arrival, what, 5, says, forge)
}

/// What laying out refuses.
pub fn layout(what: &'static str, says: &'static [&'static str], forge: fn(&mut Draft)) -> Case {
    Case::new(Stage::Layout, what, 5, says, forge)
}

/// What a fork refuses, with this exit code.
pub fn fork(what: &'static str, code: i32, says: &'static [&'static str], forge: fn(&mut Draft)) -> Case {
    Case::new(Stage::Fork, what, code, says, forge)
}
