//! The process of a real server, and that it never outlives the test's.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How soon a death is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// Killed when dropped, and when this process ends.
#[derive(Debug)]
pub(super) struct Process {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `program` with its output in the file `log`, and with PATH alone of this process's variables.
    pub(super) fn start(program: &Path, arguments: &[&OsStr], log: &Path) -> Self {
        let log = File::create(log).expect("a file can be made in a new folder");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("an open file can be shared")).stderr(log);
        let (stop, stopped) = mpsc::channel();
        // The signal comes when the thread ends that started the process, so that thread has to stay: a test's own
        // may end before the test's other threads do.
        let keeper = thread::spawn(move || {
            let child = command.spawn().expect("setpriv (Debian: util-linux) can be started");
            keep(child, &stopped);
        });
        Self { stop: Some(stop), keeper: Some(keeper) }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.keeper.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Waits until the process ends by itself, or is to.
fn keep(mut child: Child, stopped: &mpsc::Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
    }
    // Both fail only where it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its panic has been printed already, and this may be running because of one.
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}
