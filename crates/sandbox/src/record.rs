//! What is remembered of a sandbox: one small file in its folder, replaced whole.
//!
//! A record says what was started, never whether it still runs: that is found out by looking at the processes
//! ([`Record::status`]). A pid counts only with its start time and in the host's boot in which it was noted.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::NetworkMode;
use format::Digest;
use host::ProcessId;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::error::At;
use crate::{AttachedData, Error, ForkOptions};

const RECORD_FILE: &str = "record.json";
const VERSION: u32 = 1;

/// A port of the host that leads to one of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Where the host listens; port 0: any that is free.
    pub host: SocketAddr,
    /// The port on the guest's loopback.
    pub guest: u16,
}

/// A sandbox as it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The snapshot that it was forked from.
    pub snapshot: Digest,
    /// The name by which that was asked for: for people.
    pub name: Option<String>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// When it is ended, in seconds since 1970, if it has a time limit.
    pub ends_at: Option<u64>,
    /// After how many seconds without a session it is ended, if it has that limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// Whether it has a network.
    pub network: bool,
    /// The host's ports that lead into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Forward>,
    /// Those that did, until somebody else took the host's port while no supervisor held it. The next supervisor tries again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_ports: Vec<Forward>,
    /// Whether its guest was given variables or secrets: they are in its memory, and so in whatever is made of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given: bool,
    /// The disk that it has besides those of its snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<AttachedData>,
    /// The host's boot in which the processes were started.
    host_boot: String,
    /// The command that forked it: until a supervisor has noted itself, it is what makes the sandbox a starting one.
    starter: Process,
    engine: Option<Process>,
    supervisor: Option<Process>,
    /// Whether the agent has acknowledged its identity.
    pub ready: bool,
    /// Why it has ended, if somebody was there to see.
    pub ended: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    pid: u32,
    start_time: u64,
}

impl From<ProcessId> for Process {
    fn from(ProcessId { pid, start_time }: ProcessId) -> Self {
        Self { pid, start_time }
    }
}

/// What a sandbox is doing, as its processes show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its agent has not yet acknowledged.
    Starting,
    /// It runs and is supervised.
    Running,
    /// It runs; the next command that touches it starts a supervisor.
    Unsupervised,
    /// Its VM has ended.
    Dead {
        /// Why, as far as is known.
        reason: String,
    },
}

impl std::fmt::Display for Status {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Starting => out.write_str("starting"),
            Self::Running => out.write_str("running"),
            Self::Unsupervised => out.write_str("running (unsupervised)"),
            Self::Dead { reason } => write!(out, "dead: {reason}"),
        }
    }
}

/// Puts `temp` in the place of `path`, whatever is there. The two names are exchanged: a file that is renamed over another one is written to
/// the disk at once by ext4 and btrfs, and a record, which is not synced, is not worth that.
fn replace(temp: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, temp, CWD, path, RenameFlags::EXCHANGE) {
        // The old record. What cannot be removed goes with the folder.
        Ok(()) => drop(fs::remove_file(temp)),
        // There is no record yet, or the filesystem cannot exchange names.
        Err(_) => fs::rename(temp, path)?,
    }
    Ok(())
}

impl Record {
    /// The record of a sandbox in which nothing runs yet.
    pub(crate) fn new(
        snapshot: Digest,
        options: &ForkOptions,
        data: Option<AttachedData>,
    ) -> Result<Self, Error> {
        let ForkOptions { name, ttl, idle, network, ports, given, .. } = options;
        let created_at = now();
        Ok(Self {
            version: VERSION,
            snapshot,
            name: name.as_ref().map(ToString::to_string),
            created_at,
            ends_at: ttl.map(|ttl| created_at.saturating_add(ttl.as_secs().max(1))),
            idle_seconds: idle.map(|idle| idle.as_secs().max(1)),
            network: *network == NetworkMode::User,
            ports: ports.clone(),
            lost_ports: Vec::new(),
            given: !given.is_empty(),
            data,
            host_boot: host_boot()?.to_owned(),
            starter: Process::from(ProcessId::current()?),
            engine: None,
            supervisor: None,
            ready: false,
            ended: None,
        })
    }

    /// Reads the record in a sandbox's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(RECORD_FILE);
        let bytes = fs::read(&path).at("read", &path)?;
        serde_json::from_slice(&bytes).at("read", &path)
    }

    /// Replaces the record in a sandbox's folder. A process that is killed leaves the old one or the new one. It is not
    /// synced: a host that crashes takes the sandbox with it, and a record that cannot be read then is a dead one's.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        // A name of our own: a supervisor and a command that ends an overdue sandbox may both be at it.
        let temp = folder.join(format!("{RECORD_FILE}.{}", std::process::id()));
        let path = folder.join(RECORD_FILE);
        let bytes = serde_json::to_vec_pretty(self).at("write", &path)?;
        fs::write(&temp, bytes).at("write", &temp)?;
        replace(&temp, &path).at("replace", &path)
    }

    /// The engine's process, if the host has not booted since; it may have ended.
    #[must_use]
    pub fn engine(&self) -> Option<ProcessId> {
        self.process(self.engine)
    }

    /// The supervisor's process, likewise.
    #[must_use]
    pub fn supervisor(&self) -> Option<ProcessId> {
        self.process(self.supervisor)
    }

    fn process(&self, process: Option<Process>) -> Option<ProcessId> {
        let same_boot = host_boot().is_ok_and(|boot| boot == self.host_boot);
        process.filter(|_| same_boot).map(|Process { pid, start_time }| ProcessId { pid, start_time })
    }

    pub(crate) fn set_engine(&mut self, process: ProcessId) {
        self.engine = Some(process.into());
    }

    pub(crate) fn set_supervisor(&mut self, process: ProcessId) {
        self.supervisor = Some(process.into());
    }

    pub(crate) fn network_mode(&self) -> NetworkMode {
        if self.network { NetworkMode::User } else { NetworkMode::None }
    }

    /// What the sandbox is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        if let Some(reason) = &self.ended {
            return Status::Dead { reason: reason.clone() };
        }
        let alive = |process: Option<ProcessId>| process.is_some_and(ProcessId::is_alive);
        if !self.ready {
            let starts = alive(self.supervisor())
                || self.supervisor.is_none() && alive(self.process(Some(self.starter)));
            let dead = || Status::Dead { reason: "it never became ready".to_owned() };
            return if starts { Status::Starting } else { dead() };
        }
        match (alive(self.engine()), alive(self.supervisor())) {
            (true, true) => Status::Running,
            (true, false) => Status::Unsupervised,
            (false, _) => Status::Dead { reason: "its engine has ended".to_owned() },
        }
    }

    /// Whether its time limit has passed.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.ends_at.is_some_and(|end| end <= now())
    }

    /// For how long it may be without a session.
    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        self.idle_seconds.map(Duration::from_secs)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The host's boot, which a process does not outlive.
fn host_boot() -> Result<&'static str, Error> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let read = fs::read_to_string(path).at("read", path)?.trim_end().to_owned();
    Ok(BOOT.get_or_init(|| read))
}

#[cfg(test)]
mod tests {
    use agent_protocol::Given;

    use super::*;

    fn sample() -> Record {
        let options = ForkOptions {
            count: 1,
            ttl: Some(Duration::from_secs(60)),
            idle: None,
            network: NetworkMode::None,
            ports: vec![Forward { host: ([127, 0, 0, 1], 8080).into(), guest: 80 }],
            given: Given::default(),
            data: None,
            name: None,
            deadline: Duration::from_secs(60),
        };
        Record::new(Digest::of(b"x"), &options, None).unwrap()
    }

    #[test]
    fn it_is_read_as_it_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = sample();
        for start_time in [2, 3] {
            record.set_engine(ProcessId { pid: 1, start_time });
            record.write(folder.path()).unwrap();
            assert_eq!(Record::read(folder.path()).unwrap(), record);
        }
        let files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, [RECORD_FILE], "and nothing else is left");
    }

    #[test]
    fn what_is_dead_is_never_called_alive() {
        let me = ProcessId::current().unwrap();
        let not_me = ProcessId { start_time: me.start_time + 1, ..me };
        let status = |engine, supervisor, ready| {
            let mut record = sample();
            record.set_engine(engine);
            record.set_supervisor(supervisor);
            record.ready = ready;
            record.status()
        };
        assert_eq!(status(me, me, true), Status::Running);
        assert_eq!(status(me, not_me, true), Status::Unsupervised);
        assert_eq!(status(me, me, false), Status::Starting);
        assert!(matches!(status(not_me, me, true), Status::Dead { .. }), "the pid was used again");
        assert!(matches!(status(not_me, not_me, false), Status::Dead { .. }));
        assert_eq!(sample().status(), Status::Starting, "its supervisor has not noted itself yet");
        let mut orphan = sample();
        orphan.starter = not_me.into();
        assert!(matches!(orphan.status(), Status::Dead { .. }), "the forking command was killed");
        let mut other_boot = sample();
        other_boot.set_engine(me);
        other_boot.set_supervisor(me);
        other_boot.ready = true;
        other_boot.host_boot = "another".to_owned();
        assert!(matches!(other_boot.status(), Status::Dead { .. }), "the host was booted again");
    }
}
