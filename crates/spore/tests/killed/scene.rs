//! A host on which one thing after another is killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::harness::run::Run;
use crate::harness::{Spore, files, processes};
use crate::victim::{Ending, Victim, Whom};

/// How long a command may take that nobody disturbs.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// Those who are killed where nothing is left running on purpose.
pub const ANYBODY: &[Whom] = &[Whom::Command, Whom::Group, Whom::Everything];

#[derive(Debug)]
pub struct Scene {
    pub spore: Spore,
    /// Where a victim's output goes.
    pub output: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let folder = files::scratch("killed");
        let output = folder.path().join("output");
        // Whether KVM works is found out by a guest with ten seconds to boot, once for each root: not what is tested here.
        let spore = Spore::new().env("SPORE_ACCEL", "tcg");
        Self { spore, output, _folder: folder }
    }

    pub fn root(&self) -> &Path {
        self.spore.root()
    }

    /// Runs a command undisturbed, and says how long it took.
    #[track_caller]
    pub fn measure(&self, command: Run) -> Duration {
        let started = Instant::now();
        command.deadline(DEADLINE).finish().succeeds();
        started.elapsed()
    }

    /// The same for a command that takes so little time that its first run, with all files cold, says too much.
    #[track_caller]
    pub fn measure_twice(&self, command: impl Fn(&Spore) -> Run, undo: impl Fn(&Spore)) -> Duration {
        let first = self.measure(command(&self.spore));
        undo(&self.spore);
        first.min(self.measure(command(&self.spore)))
    }

    /// Starts the command, kills one of `whom` at a random moment of the time that it takes, and asserts that the store is
    /// whole.
    #[track_caller]
    pub fn kill(&self, chance: &mut Chance, command: Run, whole: Duration, whom: &[Whom]) -> Killed {
        let (moment, whom) = (chance.moment(whole), chance.one_of(whom));
        let mut victim = Victim::start(command, &self.output);
        victim.until(moment);
        victim.kill(whom, self.root());
        let ending = victim.wait(DEADLINE);
        println!("  {whom:?} killed after {moment:?} of {whole:?}: {}", ending.status);
        let is_its_own = matches!(whom, Whom::Command | Whom::Group | Whom::Everything);
        assert!(!is_its_own || ending.status.success() || ending.was_killed(), "{}", ending.output);
        assert!(!ending.output.contains("panicked"), "{}", ending.output);
        self.spore.fsck();
        Killed { whom, ending }
    }

    /// Asserts that nothing runs, and that there is no sandbox.
    #[track_caller]
    pub fn assert_nothing_runs(&self) {
        self.spore.assert_no_sandboxes();
        let left = processes::in_folder(self.root());
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

/// Who was killed, and how the command has ended.
#[derive(Debug)]
pub struct Killed {
    pub whom: Whom,
    pub ending: Ending,
}

impl Killed {
    /// Whether the command had succeeded before, or in spite of it.
    pub fn was_done(&self) -> bool {
        self.ending.status.success()
    }

    /// Whether the command has lived to see what it needs go, and failed. It is to have tidied up.
    pub fn has_failed(&self) -> bool {
        !self.was_done() && !self.ending.was_killed()
    }
}
