//! The process of a server, and that it never outlives the test's.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How soon a death is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As by a crash.
    Kill,
    /// So that it can end its own processes.
    Terminate,
}

/// Ended when dropped, and when this process ends.
#[derive(Debug)]
pub(super) struct Process {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// A command that starts `program` so that it ends with this process. Nothing of our environment reaches it: servers
    /// take settings from variables, too.
    pub(super) fn command(program: impl AsRef<OsStr>, end: End) -> Command {
        let mut command = Command::new("setpriv");
        let signal = if end == End::Kill { "KILL" } else { "TERM" };
        command.args(["--pdeathsig", signal]).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command
    }

    /// Starts a command made by [`Process::command`], with its output in the file `log`.
    pub(super) fn start(mut command: Command, log: &Path, end: End) -> Self {
        let log = File::create(log).expect("a file can be made in a new folder");
        command.stdout(log.try_clone().expect("an open file can be shared")).stderr(log);
        let (stop, stopped) = mpsc::channel();
        // The signal comes when the thread ends that started the process, so that thread has to stay: a test's own
        // may end before the test's other threads do.
        let keeper = thread::spawn(move || {
            let child = command.spawn().expect("setpriv (Debian: util-linux) can be started");
            drop(command);
            keep(child, &stopped, end);
        });
        Self { stop: Some(stop), keeper: Some(keeper) }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.keeper.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Waits until the process ends by itself, or is to.
fn keep(mut child: Child, stopped: &mpsc::Receiver<()>, end: End) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
    }
    // All fail only where it has ended already.
    let _ = match end {
        End::Kill => child.kill(),
        End::Terminate => kill_process(Pid::from_child(&child), Signal::TERM).map_err(Into::into),
    };
    let _ = child.wait();
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its panic has been printed already, and this may be running because of one.
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}
