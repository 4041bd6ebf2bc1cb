//! The process table, of this host and of a guest, and this process in the place of init.
//!
//! Whoever outlives its parent becomes a child of the test (`PR_SET_CHILD_SUBREAPER`). So nothing that the test has started is ever out
//! of sight, however it has changed its folder and its name, and a zombie is known to be one of ours.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

/// A process, as `/proc/PID/stat` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The first 15 bytes of its program's name.
    pub name: String,
    pub is_zombie: bool,
    pub parent: u32,
    leads_session: bool,
}

impl Process {
    /// Reads a line of `stat`. The name may hold anything: all else is counted from the last parenthesis.
    pub fn parse(line: &str) -> Option<Self> {
        let (front, rest) = line.rsplit_once(')')?;
        let (pid, name) = front.split_once(" (")?;
        let mut fields = rest.split_ascii_whitespace();
        let is_zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let leads_session = fields.nth(1)? == pid;
        Some(Self { pid: pid.parse().ok()?, name: name.to_owned(), is_zombie, parent, leads_session })
    }
}

/// All of the host.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that has ended meanwhile is none.
    pids.filter_map(|pid| Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// From here on orphans are children of this process.
pub fn take_in_orphans() {
    set_child_subreaper(Some(getpid())).expect("Linux has this since 3.4");
}

/// All that this process has started and what that has started, zombies too.
pub fn descendants() -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    all().into_iter().for_each(|process| children.entry(process.parent).or_default().push(process));
    let mut found = children.remove(&std::process::id()).unwrap_or_default();
    let mut at = 0;
    while let Some(process) = found.get(at) {
        found.extend(children.remove(&process.pid).unwrap_or_default());
        at += 1;
    }
    found
}

/// How many orphans have ended.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Takes the status of orphans that have ended, as init would; gives how many there were so far.
pub fn reap_orphans() -> usize {
    let own = std::process::id();
    // Supervisors and engines lead sessions. What leads none was started by a thread of the test, which waits for it.
    let is_orphan = |process: &Process| process.parent == own && process.is_zombie && process.leads_session;
    let reap = |process: &Process| {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        matches!(waitpid(pid, WaitOptions::NOHANG), Ok(Some(_)))
    };
    let ended = all().iter().filter(|process| is_orphan(process) && reap(process)).count();
    ENDED.fetch_add(ended, Ordering::Relaxed) + ended
}
