//! A command that is ended while it works.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::harness::processes;
use crate::harness::run::Run;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The command's own process, as the kernel does when memory runs out.
    Command,
    /// Its process group, as a terminal or a CI runner does: tools that it runs, but no engine and no supervisor,
    /// which have left the group.
    Group,
    /// All that works for the root, as when the host goes down.
    Everything,
    /// Engines and supervisors, but not the command.
    Detached,
    /// Supervisors alone, whose engines know nothing of it.
    Supervisors,
    /// Engines alone, as when memory runs out.
    Engines,
}

/// A command in a process group of its own.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    output: PathBuf,
    started: Instant,
}

/// How a victim has ended.
#[derive(Debug)]
pub struct Ending {
    pub status: ExitStatus,
    /// Standard output, then standard error.
    pub output: String,
    pub after: Duration,
}

impl Victim {
    /// `output` is a file for what it writes: a pipe could be held open by what it leaves.
    #[track_caller]
    pub fn start(mut run: Run, output: &Path) -> Self {
        let file = File::create(output).unwrap();
        let command = run.command().process_group(0).stdout(file.try_clone().unwrap()).stderr(file);
        let started = Instant::now();
        Self { child: command.spawn().unwrap(), output: output.to_owned(), started }
    }

    /// Waits until it has run for so long, or has ended.
    pub fn until(&mut self, moment: Duration) {
        while self.child.try_wait().unwrap().is_none() {
            let left = moment.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// Waits until something is so; it is to be so before the deadline, and before the command ends.
    #[track_caller]
    pub fn wait_for(&mut self, deadline: Duration, is_so: impl Fn() -> bool) {
        let end = Instant::now() + deadline;
        while !is_so() {
            let ended = self.child.try_wait().unwrap();
            let output = || fs::read_to_string(&self.output).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {}", output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How long it has run.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends SIGKILL; what has ended already, or is just ending, is not concerned.
    pub fn kill(&mut self, whom: Whom, root: &Path) {
        let pid = self.pid();
        let kill = |send: fn(Pid, Signal) -> rustix::io::Result<()>| {
            if let Some(pid) = pid {
                send(pid, Signal::KILL).ok();
            }
        };
        match whom {
            Whom::Command => kill(kill_process),
            Whom::Group => kill(kill_process_group),
            Whom::Detached => processes::kill(&processes::in_folder(root)),
            Whom::Supervisors | Whom::Engines => {
                let mut those = processes::in_folder(root);
                those.retain(|process| process.is_engine() == (whom == Whom::Engines));
                processes::kill(&those);
            }
            Whom::Everything => {
                kill(kill_process_group);
                // One that was being started when the others were listed is killed in the next round.
                loop {
                    let others = processes::in_folder(root);
                    if others.is_empty() {
                        return;
                    }
                    processes::kill(&others);
                }
            }
        }
    }

    /// Sends SIGINT to its process group, as Ctrl-C in a terminal does.
    pub fn interrupt(&mut self) {
        if let Some(pid) = self.pid() {
            kill_process_group(pid, Signal::INT).ok();
        }
    }

    /// Its number and its group's, unless it has ended: then they may be anybody's.
    fn pid(&mut self) -> Option<Pid> {
        let has_ended = self.child.try_wait().unwrap().is_some();
        (!has_ended).then(|| Pid::from_child(&self.child))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Ending {
        self.until(self.started.elapsed() + deadline);
        let ended = self.child.try_wait().unwrap();
        let after = self.started.elapsed();
        let output = fs::read(&self.output).unwrap();
        let output = String::from_utf8_lossy(&output).into_owned();
        match ended {
            Some(status) => Ending { status, output, after },
            None => {
                kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
                self.child.wait().unwrap();
                panic!("it did not end within {deadline:?}: {output}");
            }
        }
    }
}

impl Ending {
    /// Whether a signal has ended it.
    pub fn was_killed(&self) -> bool {
        self.status.signal().is_some()
    }
}
