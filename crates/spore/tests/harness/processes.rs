//! Which processes of the host belong to a root: those that work in it, as engines and supervisors do.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A process of the host.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    /// Its folder; as its own mount namespace names it, and with ` (deleted)` if that has gone.
    pub folder: PathBuf,
    /// Its arguments, spaces between them.
    pub arguments: String,
}

impl Process {
    /// Whether it is a sandbox's engine, and not its supervisor.
    pub fn is_engine(&self) -> bool {
        self.arguments.contains("memory-backend-file")
    }
}

/// Processes whose working directory is `folder` or in it.
pub fn in_folder(folder: &Path) -> Vec<Process> {
    all().into_iter().filter(|process| process.folder.starts_with(folder)).collect()
}

/// All processes that we may look at.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that has ended meanwhile, or is another user's, is none of ours.
    pids.filter_map(|pid: i32| {
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        Some(Process { pid, folder, arguments })
    })
    .collect()
}

/// Ends processes by force; to be used on what a failed test has left, only.
pub fn kill(processes: &[Process]) {
    for process in processes {
        if let Some(pid) = Pid::from_raw(process.pid) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// Memory of a process that no file stands behind, in KiB; its number as JSON has it.
#[track_caller]
pub fn anonymous_kib(pid: &Value) -> u64 {
    let pid = pid.as_u64().unwrap_or_else(|| panic!("no process: {pid}"));
    anonymous_kib_if_there(pid).expect("it runs")
}

/// The same of one that may have ended.
pub fn anonymous_kib_if_there(pid: impl Display) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse().expect("a number"))
}
