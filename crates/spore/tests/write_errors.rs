//! A write that fails, whichever it is: the command says what failed and why, leaves nothing, and succeeds when it is repeated.
//!
//! Each call by which a push, a pull or a bake writes to a file of a store or a hub is in turn made to fail as on a full disk,
//! over a quota and on a broken disk, or to write less than it was asked to. All of them are tried in `make soak` (of a bake 50), a few
//! in `make test`, which the seed chooses:
//!
//! ```text
//! SPORE_TEST_SEED    the seed; random unless it is set, but in `make test`, which always looks at the same ones
//! SPORE_TEST_FAULTS  `all`, or `FROM..TO` by their numbers
//! ```

#![cfg(target_arch = "x86_64")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "registers hold numbers of all kinds"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(dead_code, unreachable_pub, reason = "modules of a test, and those of another one")]

#[path = "killed/aftermath.rs"]
mod aftermath;
#[path = "write_errors/calls.rs"]
mod calls;
#[path = "killed/chance.rs"]
mod chance;
#[path = "write_errors/faults.rs"]
mod faults;
mod harness;
#[path = "write_errors/tracer.rs"]
mod tracer;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use calls::Watched;
use chance::seed;
use faults::Faults;
use harness::needs::{Need, skipped};
use harness::run::Run;
use harness::shared::{Shared, seed_cache};
use harness::{Spore, files, processes, recipes};
use hub::testing::{SampleSpec, put_sample};
use store::Store;
use tracer::{Fault, Injected};

/// The seed of `make test`: a change is judged by what it changes, and `make soak` looks at everything.
const SAMPLE: u64 = 6_584_115_111_679_548_143;

/// How long a command may take that is traced.
const DEADLINE: Duration = Duration::from_secs(240);
/// How often a call is waited for that is not always made.
const TRIES: usize = 3;
/// How often a command is watched first: what it calls each time is what can be made to fail.
const UNDISTURBED: usize = 3;

/// A command whose writes fail.
trait Subject {
    fn spore(&self) -> &Spore;
    /// Whose files count.
    fn folders(&self) -> Vec<Watched<'_>>;
    /// Takes back what it did when it succeeded.
    fn reset(&self);
    fn command(&self) -> Run;
    /// Whether the command does its work all the same, since what could not be written is a hint.
    fn is_hint(&self, _: &Injected) -> bool {
        false
    }
    /// After it has failed, and what it had begun is gone; or succeeded.
    fn assert_is_whole(&self) {}
}

/// Tries `few` faults, or as many of all that there are as were asked for, `most` of them at most.
fn fail_writes(test: &str, subject: &impl Subject, few: usize, most: usize) {
    let folder = files::scratch("traced");
    let output = folder.path().join("output");
    let run = |injected: Option<&Injected>| {
        tracer::run(subject.command(), &output, &subject.folders(), injected, DEADLINE)
    };
    let undisturbed = [(); UNDISTURBED].map(|()| {
        subject.reset();
        let traced = run(None);
        assert!(traced.status.success(), "{}", traced.output);
        traced.calls
    });
    let is_sampled =
        std::env::var_os("SPORE_TEST_FAULTS").is_none() && std::env::var_os("SPORE_TEST_SEED").is_none();
    let seed = if is_sampled { SAMPLE } else { seed() };
    let faults = Faults::of(&undisturbed);
    println!("{test}: {:?} calls, SPORE_TEST_SEED={seed}", undisturbed.each_ref().map(Vec::len));
    let (chosen, mut missed) = (faults.chosen(test, seed, few, most), 0);
    for number in &chosen {
        let fault = &faults.all[*number];
        // Where threads have taken turns in another way, it may have needed one call less.
        let mut tries = (0..TRIES).map(|_| {
            subject.reset();
            run(Some(fault))
        });
        let Some(traced) = tries.find(|traced| traced.was_injected || !traced.status.success()) else {
            println!("{test}: fault {number} of {}, {fault}: that call was not made", faults.all.len());
            missed += 1;
            continue;
        };
        println!("{test}: fault {number} of {}, {fault}: {}", faults.all.len(), traced.status);
        assert!(traced.was_injected, "it failed by itself: {}", traced.output);
        check(subject, fault, &traced);
        subject.command().deadline(DEADLINE).finish().succeeds();
        subject.assert_is_whole();
    }
    println!("{test}: of {} faults {missed} were not injected", chosen.len());
    assert!(missed <= 1 + chosen.len() / 20, "of {} faults {missed} were not injected", chosen.len());
}

/// Asserts on how a command has ended one of whose writes has failed.
fn check(subject: &impl Subject, fault: &Injected, traced: &tracer::Traced) {
    let output = traced.output.trim();
    let root = subject.spore().root();
    if traced.status.success() {
        let may_succeed = fault.fault == Fault::Short || subject.is_hint(fault);
        assert!(may_succeed, "it has not noticed: {output}");
    } else {
        println!("  {}", output.lines().last().unwrap_or_default());
        assert_eq!(traced.status.code(), Some(1), "{output}");
        assert!(!output.contains("panicked"), "{output}");
        let names = subject.folders().iter().any(|(_, folder)| output.contains(folder.to_str().unwrap()));
        assert!(names, "it does not say where: {output}");
        for words in fault.fault.words() {
            assert!(output.to_lowercase().contains(words), "{words:?} is not said: {output}");
        }
    }
    for (_, folder) in subject.folders() {
        aftermath::assert_no_leftovers(folder);
    }
    let running = processes::in_folder(root);
    assert!(running.is_empty(), "left behind: {running:#?}");
    subject.spore().fsck();
    subject.assert_is_whole();
}

/// Whether it is by this fault that nothing remembers in which hub the snapshot was seen: a hint, of which a lost one costs bytes.
fn is_of_an_origin(root: &Path, fault: &Injected) -> bool {
    fault.call.place.starts_with("store/origins") || origins(root).is_empty()
}

/// What remembers in which hubs snapshots were seen.
fn origins(root: &Path) -> Vec<PathBuf> {
    entries_if_there(&root.join("origins"))
}

fn entries_if_there(folder: &Path) -> Vec<PathBuf> {
    if folder.is_dir() { files::entries(folder) } else { Vec::new() }
}

/// Puts a snapshot into a store that takes few calls, and several for one blob.
fn put(root: &Path) {
    let store = Store::open(root).unwrap();
    let spec = SampleSpec { layer_pages: 700, memory_pages: 300, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&"local/sample:latest".parse().unwrap(), &sample.digest, None).unwrap();
}

/// To a hub that is not there yet.
struct Push {
    spore: Spore,
    hub: PathBuf,
    _folder: tempfile::TempDir,
}

impl Push {
    fn new() -> Self {
        let (spore, folder) = (Spore::new(), files::scratch("hub"));
        put(spore.root());
        Self { spore, hub: folder.path().join("hub"), _folder: folder }
    }
}

impl Subject for Push {
    fn spore(&self) -> &Spore {
        &self.spore
    }

    fn folders(&self) -> Vec<Watched<'_>> {
        vec![("store", self.spore.root()), ("hub", &self.hub)]
    }

    fn reset(&self) {
        if self.hub.exists() {
            fs::remove_dir_all(&self.hub).unwrap();
        }
        origins(self.spore.root()).iter().for_each(|file| fs::remove_file(file).unwrap());
    }

    fn command(&self) -> Run {
        self.spore.command(["push", "sample", "--hub"]).args([&self.hub])
    }

    fn is_hint(&self, fault: &Injected) -> bool {
        is_of_an_origin(self.spore.root(), fault)
    }

    fn assert_is_whole(&self) {
        aftermath::assert_hub_is_whole(&self.hub);
    }
}

/// Into a store that is not there yet, with flat files.
struct Pull {
    spore: Spore,
    pushed: Push,
}

impl Subject for Pull {
    fn spore(&self) -> &Spore {
        &self.spore
    }

    fn folders(&self) -> Vec<Watched<'_>> {
        vec![("store", self.spore.root())]
    }

    fn reset(&self) {
        if self.spore.root().exists() {
            fs::remove_dir_all(self.spore.root()).unwrap();
        }
    }

    fn command(&self) -> Run {
        self.spore.command(["pull", "sample", "--hub"]).args([&self.pushed.hub])
    }

    fn is_hint(&self, fault: &Injected) -> bool {
        is_of_an_origin(self.spore.root(), fault)
    }
}

/// With layers and kernel made before: what makes them are other programs.
struct Bake {
    spore: Spore,
    recipe: PathBuf,
}

impl Subject for Bake {
    fn spore(&self) -> &Spore {
        &self.spore
    }

    fn folders(&self) -> Vec<Watched<'_>> {
        vec![("store", self.spore.root())]
    }

    fn reset(&self) {
        let removed = self.spore.run(["rm", "tiny"]);
        assert!(matches!(removed.status.code(), Some(0 | 3)), "{removed}");
        self.spore.run(["prune"]).succeeds();
        // Layers that are laid out stay, and would not be framed again; what QEMU can do would not be noted again.
        for folder in ["framings", "cache/engine"] {
            let files = entries_if_there(&self.spore.root().join(folder));
            files.iter().for_each(|file| fs::remove_file(file).unwrap());
        }
    }

    fn command(&self) -> Run {
        self.spore.command(["bake"]).args([&self.recipe])
    }

    /// What QEMU can do is asked again when it is not remembered.
    fn is_hint(&self, fault: &Injected) -> bool {
        fault.call.place.starts_with("store/cache/engine")
    }
}

#[test]
fn of_a_push() {
    fail_writes("write_errors::of_a_push", &Push::new(), 24, usize::MAX);
}

#[test]
fn of_a_pull() {
    let pushed = Push::new();
    pushed.command().finish().succeeds();
    fail_writes("write_errors::of_a_pull", &Pull { spore: Spore::new(), pushed }, 24, usize::MAX);
}

#[test]
fn of_a_bake() {
    const TEST: &str = "write_errors::of_a_bake";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let recipe = recipes::shipped("tiny");
    Shared::of(&recipe);
    let bake = Bake { spore: Spore::new().env("SPORE_ACCEL", "tcg"), recipe };
    seed_cache(bake.spore.root());
    fail_writes(TEST, &bake, 4, 50);
}
