//! Where forged archives are unpacked, from files and pipes, in little memory, and what must not come of it. The snapshot in them
//! is one that no engine can run: what is found out by a fork is tried where hubs are (`hostile/arena.rs`).

use std::fmt::Display;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hub::testing::{SampleSpec, put_sample};
use store::Store;

use crate::archive::Archive;
use crate::arena::assert_plain;
use crate::bases::Base;
use crate::case::{Carrier, Case, Verdict};
use crate::forge::{Draft, Original};
use crate::harness::run::{Outcome, Run};
use crate::harness::{Spore, files};

/// How a pack is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Both,
    Pipe,
    File,
}

/// A forged archive, and how it is to be found out.
pub struct Forgery {
    pub what: &'static str,
    code: i32,
    says: &'static [&'static str],
    way: Way,
    forge: fn(&mut Archive),
}

/// What is refused because it is not what it says, whichever way it comes.
pub fn archive(what: &'static str, says: &'static [&'static str], forge: fn(&mut Archive)) -> Forgery {
    Forgery { what, code: 5, says, way: Way::Both, forge }
}

impl Forgery {
    pub fn exits_with(self, code: i32) -> Self {
        Self { code, ..self }
    }

    pub fn only_by(self, way: Way) -> Self {
        Self { way, ..self }
    }
}

/// A user with an empty store, little memory, and a folder that is watched.
pub struct PackArena {
    pub spore: Spore,
    pub hub: PathBuf,
    folder: PathBuf,
    original: Original,
}

/// The name that forged packs propose.
const NAME: &str = "forged:1";
/// Bytes that `spore` may have of its own, its stacks included.
const MEMORY: u64 = 200_000_000;

impl PackArena {
    #[track_caller]
    pub fn new() -> Self {
        let scratch = files::scratch("hostile-packs");
        let folder = scratch.path().to_owned();
        let hub = folder.join("hub");
        let baker = Spore::new();
        let store = Store::open(baker.root()).expect("a store can be made");
        let spec = SampleSpec { layer_pages: 3, memory_pages: 20, ..SampleSpec::default() };
        let sample = put_sample(&store, &spec).expect("a sample can be made");
        store.set_ref(&"local/sample:1".parse().expect("a name"), &sample.digest, None).expect("it is there");
        let to = hub.to_str().expect("UTF-8");
        baker.run(["push", "sample:1", "sample:latest", "--hub", to]).succeeds();
        let limit = format!("--data={MEMORY}");
        let spore = Spore::in_folder(scratch, Path::new("store/of/user")).within(["prlimit", &limit]);
        spore.run(["images"]).succeeds();
        for name in ["work", "tmp"] {
            fs::create_dir(folder.join(name)).expect("a folder can be made");
        }
        let spore = spore.env("TMPDIR", folder.join("tmp"));
        let original = Original::read(&hub, "sample");
        Self { spore, hub, folder, original }
    }

    pub fn draft(&self) -> Draft {
        self.original.draft()
    }

    /// The pack of a draft.
    pub fn archive(&self, draft: Draft) -> Archive {
        Archive::of(&self.hub, draft.publish("forged"), NAME)
    }

    /// `spore unpack` of these bytes, from a file or a pipe.
    pub fn unpack(&self, bytes: &[u8], way: Way, options: &[&str]) -> Outcome {
        let path = self.file();
        let given = if way == Way::File { path.to_str().expect("UTF-8") } else { "-" };
        let mut run = self.spore.command(["unpack", given]).args(options);
        run.command().current_dir(self.folder.join("work"));
        if way != Way::File {
            return run.stdin(bytes).finish();
        }
        fs::write(&path, bytes).expect("a pack can be written");
        let outcome = run.finish();
        fs::remove_file(&path).expect("it is still there");
        outcome
    }

    /// Where a pack is written to be unpacked as a file.
    fn file(&self) -> PathBuf {
        self.folder.join("forged.spore")
    }

    /// `spore unpack` of these bytes on a terminal, and all that is shown there.
    pub fn unpack_on_terminal(&self, bytes: &[u8], options: &str) -> String {
        fs::write(self.file(), bytes).expect("a pack can be written");
        let (program, root) = (files::program(), self.spore.root());
        let unpack = format!("{} --root {} unpack", program.display(), root.display());
        let line = format!("{unpack} {} {options}", self.file().display());
        let shown = Run::new("script").args(["-qec", &line, "/dev/null"]).finish().stdout;
        fs::remove_file(self.file()).expect("it is still there");
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Tries all cases, and then names those that failed.
    #[track_caller]
    pub fn refuses(&self, cases: impl IntoIterator<Item = Case>) {
        self.all(cases.into_iter().map(|case| {
            let act = move || {
                let mut draft = self.draft();
                (case.forge)(&mut draft);
                let bytes = self.archive(draft).encode();
                let Verdict { code, says } = case.verdict(Carrier::Pack);
                self.refuses_bytes(&bytes, Way::Both, code, says, &[]);
            };
            (case.what, act)
        }));
    }

    /// The same of archives of a true snapshot.
    #[track_caller]
    pub fn refuses_archives(&self, cases: impl IntoIterator<Item = Forgery>) {
        let original = self.archive(self.draft());
        self.all(cases.into_iter().map(|case| {
            let mut forged = original.clone();
            let act = move || {
                (case.forge)(&mut forged);
                self.refuses_bytes(&forged.encode(), case.way, case.code, case.says, &[]);
            };
            (case.what, act)
        }));
        // What was refused does not stand in the way of what is right.
        for way in [Way::File, Way::Pipe] {
            self.unpack(&original.encode(), way, &["--force"]).succeeds();
        }
        self.spore.fsck();
    }

    /// Asserts that none of these becomes a snapshot, and that nothing is left of them.
    #[track_caller]
    pub fn refuses_bases(&self, bases: impl IntoIterator<Item = Base>) {
        let folder = self.folder.join("recipe");
        let bake = |base: &Base| {
            base.write(&folder);
            let mut run = self.spore.command(["bake", folder.to_str().expect("UTF-8")]).args(base.options);
            run.command().current_dir(self.folder.join("work"));
            let outcome = run.finish();
            fs::remove_dir_all(&folder).expect("it is still there");
            outcome
        };
        self.all(bases.into_iter().map(|base| {
            let what = base.what.clone();
            let act = move || {
                // What is known of this host is noted by the first.
                bake(&base);
                let before = self.listing();
                assert_plain(&bake(&base).exits_with(base.code).says(&base.says));
                assert_eq!(self.listing(), before);
            };
            (what, act)
        }));
    }

    #[track_caller]
    fn all<W: Display>(&self, cases: impl Iterator<Item = (W, impl FnOnce())>) {
        let mut failed = Vec::new();
        for (what, act) in cases {
            println!("case: {what}");
            if catch_unwind(AssertUnwindSafe(act)).is_err() {
                println!("failed: {what}");
                self.spore.run(["prune"]);
                failed.push(what.to_string());
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
        self.spore.fsck();
    }

    /// Asserts that a pack is refused, and that nothing is left of it.
    #[track_caller]
    pub fn refuses_bytes(&self, bytes: &[u8], way: Way, code: i32, says: &[&str], options: &[&str]) {
        let before = self.listing();
        for way in [Way::File, Way::Pipe].into_iter().filter(|one| way == Way::Both || way == *one) {
            let outcome = self.unpack(bytes, way, options).exits_with(code).says(says);
            assert_plain(&outcome);
            assert_eq!(self.listing(), before, "{way:?}");
        }
    }

    /// All files of the user, the store's among them, but for its locks.
    fn listing(&self) -> Vec<PathBuf> {
        let mut files = files::files_below(&self.folder);
        files.retain(|path| {
            !path.starts_with(self.spore.root().join("locks")) && !path.starts_with(&self.hub)
        });
        files
    }
}
