//! Where a forged snapshot is pulled and forked, and what must not come of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use format::Digest;

use crate::archive::Archive;
use crate::case::{Carrier, Case, Stage, Verdict};
use crate::forge::{Draft, Original};
use crate::harness::run::{Outcome, Run};
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, processes, recipes};

/// The name of every forged snapshot.
pub const FORGED: &str = "forged";

/// Files and folders, and what tells whether one was changed.
type Listing = BTreeMap<PathBuf, String>;

/// A user's host: a store two folders deep, a hub that is not to be trusted, and a home.
///
/// ```text
/// hub/   work/ (where commands run)   tmp/   store/of/user/ (the root)
/// ```
pub struct Arena {
    pub spore: Spore,
    pub hub: PathBuf,
    folder: PathBuf,
    original: Original,
    carrier: Carrier,
}

impl Arena {
    /// The hub holds the tiny snapshot, the store nothing.
    #[track_caller]
    pub fn new(carrier: Carrier) -> Self {
        let shared = Shared::of(&recipes::shipped("tiny"));
        let scratch = files::scratch("hostile");
        let folder = scratch.path().to_owned();
        let hub = folder.join("hub");
        files::copy_tree(&shared.hub, &hub).expect("the hub can be copied");
        for name in ["work", "tmp"] {
            fs::create_dir(folder.join(name)).expect("a folder can be made");
        }
        let spore = Spore::in_folder(scratch, Path::new("store/of/user")).env("TMPDIR", folder.join("tmp"));
        // Makes the root, and the folders on the way to it.
        spore.run(["ps"]).succeeds();
        let original = Original::read(&hub, &shared.name);
        Self { spore, hub, folder, original, carrier }
    }

    pub fn draft(&self) -> Draft {
        self.original.draft()
    }

    /// Puts a forged snapshot where it can be brought from, and gives its digest.
    pub fn forge(&self, draft: Draft) -> Digest {
        let digest = draft.publish(FORGED);
        if self.carrier == Carrier::Pack {
            let pack = Archive::of(&self.hub, digest, FORGED).encode();
            fs::write(self.pack(), pack).expect("a pack can be written");
        }
        digest
    }

    fn pack(&self) -> PathBuf {
        self.folder.join("forged.spore")
    }

    /// Brings what was forged.
    pub fn bring(&self, options: &[&str]) -> Run {
        match self.carrier {
            Carrier::Hub => self.pull(FORGED).args(options),
            Carrier::Pack => self.command(["unpack", self.pack().to_str().expect("UTF-8")]).args(options),
        }
    }

    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        let mut run = self.spore.command(args);
        run.command().current_dir(self.folder.join("work"));
        run
    }

    /// `spore pull NAME`, from the hub.
    pub fn pull(&self, name: &str) -> Run {
        self.command(["pull", "--hub", self.hub.to_str().expect("UTF-8"), name])
    }

    /// The same without laying out, which is left to the fork.
    pub fn pull_only(&self, name: &str) -> Run {
        let mut run = self.pull(name);
        run.command().arg("--no-layout");
        run
    }

    /// `spore fork NAME`, with a deadline within that of tests.
    pub fn fork(&self, name: &str) -> Run {
        self.command(["fork", name, "--deadline", "60s"])
    }

    /// Tries all cases, and then names those that failed.
    #[track_caller]
    pub fn refuses(&self, cases: impl IntoIterator<Item = Case>) {
        let mut failed = Vec::new();
        for case in cases {
            println!("case: {}", case.what);
            if catch_unwind(AssertUnwindSafe(|| self.refuses_one(&case))).is_err() {
                println!("failed: {}", case.what);
                // So that the next case is judged by what it does itself.
                self.command(["rm", FORGED]).finish();
                failed.push(case.what);
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
        self.assert_clean();
    }

    fn refuses_one(&self, case: &Case) {
        let mut draft = self.draft();
        (case.forge)(&mut draft);
        self.forge(draft);
        let Verdict { code, says } = case.verdict(self.carrier);
        let refused = |run: Run| assert_plain(&run.finish().exits_with(code).says(says));
        if case.stage == Stage::Layout {
            // So that all else is here, and nothing of it is under way when this is found out.
            self.pull_only("tiny").finish().succeeds();
        }
        if case.stage != Stage::Fork {
            self.leaves_nothing(|| refused(self.bring(&[])));
        }
        if case.stage != Stage::Arrival {
            self.leaves_nothing(|| {
                self.bring(&["--no-layout"]).finish().succeeds();
                refused(self.fork(FORGED));
                self.command(["rm", FORGED]).finish().succeeds();
            });
        }
    }

    /// Asserts that `act` changes nothing outside the store, and leaves no tag, sandbox, process or unfinished file.
    #[track_caller]
    pub fn leaves_nothing(&self, act: impl FnOnce()) {
        let root = self.spore.root();
        let names =
            |folder: &str| if root.is_dir() { files::entries(&root.join(folder)) } else { Vec::new() };
        let (outside, tags) = (self.outside(), names("refs"));
        act();
        assert_same(&outside, &self.outside());
        assert_eq!(names("refs"), tags, "a tag was left");
        for folder in ["sandboxes", "tmp", "trash", "partial", "leases"] {
            assert_eq!(names(folder), Vec::<PathBuf>::new());
        }
        let processes = processes::in_folder(root);
        assert!(processes.is_empty(), "left behind: {processes:?}");
    }

    /// Asserts that the store is whole once what nothing uses is gone.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.command(["prune"]).finish().succeeds();
        self.spore.fsck();
    }

    /// Everything in the user's folders but the store.
    fn outside(&self) -> Listing {
        let mut found = Listing::new();
        self.list(&self.folder, &mut found);
        found
    }

    fn list(&self, folder: &Path, found: &mut Listing) {
        for path in files::entries(folder).into_iter().filter(|path| path != self.spore.root()) {
            let meta = fs::symlink_metadata(&path).expect("an entry can be examined");
            if meta.is_dir() {
                found.insert(path.clone(), format!("{:o}", meta.mode()));
                self.list(&path, found);
            } else {
                let time = (meta.mtime(), meta.mtime_nsec());
                found.insert(path, format!("{:o} {} {} {time:?}", meta.mode(), meta.ino(), meta.len()));
            }
        }
    }
}

#[track_caller]
fn assert_same(before: &Listing, after: &Listing) {
    let only_in = |one: &Listing, other: &Listing| -> Vec<_> {
        one.iter()
            .filter(|(path, is)| other.get(*path) != Some(is))
            .map(|(path, is)| (path.clone(), is.clone()))
            .collect()
    };
    let (gone, come) = (only_in(before, after), only_in(after, before));
    assert!(
        gone.is_empty() && come.is_empty(),
        "outside the store this was: {gone:#?}\nand this is: {come:#?}"
    );
}

/// Asserts that a terminal shows the output, and obeys none of it.
#[track_caller]
pub fn assert_plain(outcome: &Outcome) {
    let is_plain = |byte: &u8| *byte == b'\n' || !byte.is_ascii_control();
    let all = outcome.stdout.iter().chain(&outcome.stderr);
    assert!(all.into_iter().all(is_plain), "a terminal would obey this: {:?}", outcome.to_string());
}
