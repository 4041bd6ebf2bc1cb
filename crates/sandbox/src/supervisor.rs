//! The supervisor: the small process that owns one sandbox's engine and its one agent channel.
//!
//! It restores the VM, gives it its identity, and then carries any number of clients' sessions over the channel
//! (`mux`), forwards ports (`forward`), enforces its limits, keeps the logs bounded (`logs`), holds its data disk's
//! lock, and notes how the engine ended. It is crash-only: should it die, the engine runs on, and the next command that
//! touches the sandbox starts another supervisor, which adopts it; running execs are lost, and their clients see the
//! connection end.

mod forward;
mod logs;
mod mux;
mod serve;

use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::{Given, Reply, Request};
use engine::{AGENT_SOCKET, Description, Engine, FileName, MemoryMode, NetworkMode, RestoreSpec, Setup};
use format::Config;
use host::{Deadline, ProcessId};
use store::{SandboxId, Store};

use crate::channel::{Channel, ChannelError, Peer};
use crate::error::At;
use crate::launch::Announcement;
use crate::limits::{ADOPTION_DEADLINE, KILL_DEADLINE};
use crate::record::Record;
use crate::{AttachedData, CONTROL_SOCKET, Error, LOCK_FILE, SUPERVISOR_LOG, identity, layout};

/// How long a greeting without padding may go unanswered before it is tried with padding, on a new connection.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(feature = "testing")]
pub(crate) use mux::testing;

/// Whether the VM is to be restored or runs already.
#[derive(Debug)]
pub enum Start {
    /// Nothing runs yet. The pipe is shared by all siblings: the forking command, once all are ready, writes one byte
    /// for each; if it ends before, they end too.
    Restore {
        /// The pipe's end to read from.
        keep: File,
        /// How long the guest may take to take its identity, the recipe's hook included.
        deadline: Duration,
    },
    /// An earlier supervisor has died.
    Adopt,
}

/// A sandbox whose agent has answered.
struct Supervised {
    folder: PathBuf,
    record: Record,
    config: Config,
    engine: ProcessId,
    agent: Channel,
    /// Its data disk, locked.
    data: Option<File>,
}

/// Supervises the sandbox `id` until its engine ends. What becomes of the start is announced on `parent`.
///
/// # Errors
/// If the sandbox does not become ready: `parent` was told, and nothing of the sandbox is left, unless it was to be adopted.
pub fn run(
    store: &Store,
    engine: &dyn Engine,
    id: &SandboxId,
    start: Start,
    mut parent: UnixStream,
) -> Result<(), Error> {
    let folder = store.sandbox_path(id);
    let lock_path = folder.join(LOCK_FILE);
    let lock = File::options().create(true).append(true).open(&lock_path).at("open", &lock_path)?;
    if lock.try_lock().is_err() {
        // Another one was faster.
        return announce(&mut parent, &Announcement::Ready, &folder);
    }
    // Bound before anything runs: what cannot be served is not started, and a client that comes early waits.
    let ready = bind(&folder, &start).and_then(|(listeners, record)| {
        let supervised = match &start {
            Start::Restore { deadline, .. } => {
                let given = read_given(&parent).at("hear what is given to", &folder)?;
                restore(store, engine, id, folder.clone(), record, &given, *deadline)
            }
            Start::Adopt => adopt(store, id, folder.clone(), record),
        };
        Ok((listeners, supervised?))
    });
    let (listeners, supervised) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            // Removed first: who hears of it may end this process.
            let removed = match &start {
                Start::Restore { .. } => store.remove_sandbox(id),
                Start::Adopt => Ok(()),
            };
            announce(&mut parent, &Announcement::Failed((&error).into()), &folder).ok();
            removed?;
            return Err(error);
        }
    };
    // If the command that waits for this has ended meanwhile, its end is seen where `keep` is awaited.
    announce(&mut parent, &Announcement::Ready, &folder).ok();
    let keep = match start {
        Start::Restore { keep, .. } => Some(keep),
        Start::Adopt => None,
    };
    serve::until_end(store, id, supervised, listeners, keep)
}

/// Where a supervisor is asked for something.
struct Listeners {
    /// By clients.
    control: UnixListener,
    /// By what connects to a forwarded port, and the guest's port for it.
    ports: Vec<(TcpListener, u16)>,
}

/// Binds what the record asks for, and notes there which ports these are.
fn bind(folder: &Path, start: &Start) -> Result<(Listeners, Record), Error> {
    let mut record = Record::read(folder)?;
    let handle = host::socket::folder(folder).at("open", folder)?;
    let control = host::socket::bind(handle.as_fd(), CONTROL_SOCKET).at("bind a socket in", folder)?;
    let wanted = [std::mem::take(&mut record.ports), std::mem::take(&mut record.lost_ports)].concat();
    let mut ports = Vec::new();
    for mut port in wanted {
        match (forward::bind(&mut port), start) {
            (Ok(listener), _) => {
                ports.push(listener);
                record.ports.push(port);
            }
            // Somebody else has taken it meanwhile: all but this port goes on.
            (Err(error), Start::Adopt) => {
                let path = folder.join(SUPERVISOR_LOG);
                let mut log = File::options().append(true).create(true).open(&path).at("open", &path)?;
                writeln!(log, "a port does not lead into it any more: {error}").at("write to", &path)?;
                record.lost_ports.push(port);
            }
            (Err(error), Start::Restore { .. }) => return Err(error),
        }
    }
    Ok((Listeners { control, ports }, record))
}

fn announce(parent: &mut UnixStream, announcement: &Announcement, folder: &Path) -> Result<(), Error> {
    let mut line = serde_json::to_vec(announcement).at("announce", folder)?;
    line.push(b'\n');
    parent.write_all(&line).at("announce", folder)
}

fn read_config(store: &Store, record: &Record) -> Result<Config, Error> {
    let (manifest, _) = store.read_manifest(&record.snapshot)?;
    Ok(store.read_config(&manifest.config.digest)?)
}

/// Restores the VM and gives it its identity. On an error the engine has been ended.
fn restore(
    store: &Store,
    engine: &dyn Engine,
    id: &SandboxId,
    folder: PathBuf,
    mut record: Record,
    given: &Given,
    allowed: Duration,
) -> Result<Supervised, Error> {
    record.set_supervisor(ProcessId::current()?);
    record.write(&folder)?;
    let config = read_config(store, &record)?;
    let deadline = Deadline::after(allowed);
    let mut disks = layout::disks(&config)?;
    let data = record.data.as_ref().map(|data| data.lock(&folder)).transpose()?;
    disks.extend(record.data.as_ref().map(AttachedData::disk).transpose()?);
    let network = record.network_mode();
    let setup = Setup {
        folder: &folder,
        machine: &config.machine,
        engine: &Description::of(&config.engine),
        disks: &disks,
        network,
        memory: MemoryMode::Private,
        deadline,
    };
    let mut vm = engine.restore(&RestoreSpec { setup, state: &FileName::new(layout::STATE_FILE)? })?;
    let process = vm.process();
    record.set_engine(process);
    let ready = record.write(&folder).and_then(|()| {
        // Connected before it runs: the guest then sees a port that stays open, and does nothing about it.
        let connection = connect(&folder)?;
        vm.resume(deadline)?;
        let identity = || {
            let left = deadline.remaining().unwrap_or_default();
            identity::fresh(id, network == NetworkMode::User, left).map(Request::Identity)
        };
        let gifts = Gifts { data: record.data.as_ref(), given };
        let agent = acknowledge(&folder, connection, gifts, &identity, deadline)?;
        if let Some(forward) = record.ports.first() {
            let what = "ports cannot be forwarded".to_owned();
            agent
                .check(&Request::Connect { port: forward.guest })
                .map_err(|source| Error::Agent { what, source })?;
        }
        record.ready = true;
        record.write(&folder)?;
        Ok(agent)
    });
    let agent = ready.inspect_err(|_| {
        vm.kill(Deadline::after(KILL_DEADLINE)).ok();
    })?;
    // The state was read, and its name is not needed again.
    std::fs::remove_file(folder.join(layout::STATE_FILE)).ok();
    Ok(Supervised { folder, record, config, engine: process, agent, data })
}

/// What a guest gets besides its identity.
#[derive(Clone, Copy)]
struct Gifts<'a> {
    data: Option<&'a AttachedData>,
    given: &'a Given,
}

impl Gifts<'_> {
    fn are_none(self) -> bool {
        self.data.is_none() && self.given.is_empty()
    }
}

/// Greets the agent of a VM that was just resumed and waits until it has taken its identity.
fn acknowledge(
    folder: &Path,
    connection: UnixStream,
    gifts: Gifts<'_>,
    identity: &dyn Fn() -> io::Result<Request>,
    deadline: Deadline,
) -> Result<Channel, Error> {
    let agent = |source| Error::Agent { what: "the new identity was not acknowledged".to_owned(), source };
    let make = || identity().at("make an identity for", folder);
    let mut channel = Channel::new(connection).at("greet the agent in", folder)?;
    // With nothing to give, the identity goes with the greeting: one answer less to wait for.
    let first = if gifts.are_none() { Some(make()?) } else { None };
    channel.greet(Peer::Waiting, first.as_ref(), deadline).map_err(agent)?;
    let mut is_asked = first.is_some();
    match channel.greeted(deadline.within(GREETING_DEADLINE)) {
        // Frozen in another state than a sync leaves: by another Spore, or with the port blocked.
        Err(ChannelError::Timeout | ChannelError::Protocol(_)) => {
            drop(channel);
            channel = Channel::new(connect(folder)?).at("greet the agent in", folder)?;
            channel.greet_until_answered(deadline).map_err(agent)?;
            is_asked = false;
        }
        greeted => greeted.map_err(agent)?,
    }
    // Before the identity, whose hook may need them.
    if let Some(data) = gifts.data {
        let what = format!("data disk {} was not attached", data.path.display());
        data.attach(&mut channel, deadline).map_err(|source| Error::Agent { what, source })?;
    }
    if !gifts.given.is_empty() {
        let what = "variables and secrets were not taken".to_owned();
        provide(&mut channel, gifts.given, deadline).map_err(|source| Error::Agent { what, source })?;
    }
    if !is_asked {
        channel.request(&make()?, deadline).map_err(agent)?;
    }
    match channel.answer(deadline).map_err(agent)? {
        Reply::IdentityDone {} => Ok(channel),
        other => Err(agent(ChannelError::Unexpected(format!("{other:?}")))),
    }
}

fn provide(channel: &mut Channel, given: &Given, deadline: Deadline) -> Result<(), ChannelError> {
    let request = Request::Provide(given.clone());
    channel.check(&request)?;
    match channel.ask(&request, deadline)? {
        Reply::Provided {} => Ok(()),
        other => Err(ChannelError::Unexpected(format!("{other:?}"))),
    }
}

/// What the guest is to be given: a line from the command that forks.
fn read_given(parent: &UnixStream) -> io::Result<Given> {
    const LINE_BYTES: u64 = 256 << 10;
    let mut line = Vec::new();
    parent.set_read_timeout(Some(GREETING_DEADLINE))?;
    BufReader::new(parent.take(LINE_BYTES)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Takes up a VM whose supervisor has died.
fn adopt(store: &Store, id: &SandboxId, folder: PathBuf, mut record: Record) -> Result<Supervised, Error> {
    let engine = record
        .engine()
        .filter(|process| record.ready && process.is_alive())
        .ok_or_else(|| Error::NotRunning { id: id.clone(), reason: "its engine has ended".to_owned() })?;
    let config = read_config(store, &record)?;
    let deadline = Deadline::after(ADOPTION_DEADLINE);
    let agent = |source| Error::Agent { what: "the agent was not reached again".to_owned(), source };
    let mut channel = Channel::new(connect(&folder)?).at("greet the agent in", &folder)?;
    channel.greet_until_answered(deadline).map_err(agent)?;
    record.set_supervisor(ProcessId::current()?);
    record.write(&folder)?;
    // The engine has its own lock, and goes on whoever has taken this one meanwhile.
    let data = record.data.as_ref().and_then(|data| data.lock(&folder).ok());
    Ok(Supervised { folder, record, config, engine, agent: channel, data })
}

fn connect(folder: &Path) -> Result<UnixStream, Error> {
    host::socket::connect_in(folder, AGENT_SOCKET).at("connect to the agent in", folder)
}
