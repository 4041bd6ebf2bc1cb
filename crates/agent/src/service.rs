//! What the agent does for a host: requests to sessions and tasks, and everything to its end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_protocol::{
    Exec, ExitStatus, Failure, FailureKind, GuestConfig, Incoming, MAX_SESSIONS, Reply, Request, SessionId,
    parse_request, signal,
};
use rustix::process::Pid;

use crate::connection::Connection;
use crate::data;
use crate::exec::ExecSession;
use crate::given::Provided;
use crate::link::{Link, Received, SPEAKS};
use crate::log::Log;
use crate::session::Session;
use crate::spawn::failure;
use crate::sys;
use crate::task::Task;
use crate::tool;
use crate::warm::Warm;

/// How long a shutdown waits for its answer to be read.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) struct Service {
    config: GuestConfig,
    provided: Provided,
    writable: Option<OwnedFd>,
    sessions: BTreeMap<SessionId, Session>,
    /// Whose turn it is to fill the queue first.
    turn: SessionId,
    warm: Warm,
    task: Option<Task>,
    shutdown: Option<Instant>,
}

impl Service {
    pub(crate) fn new(config: GuestConfig, writable: Option<OwnedFd>, log: Log) -> Self {
        Service {
            config,
            provided: Provided::default(),
            writable,
            sessions: BTreeMap::new(),
            turn: SessionId::CONTROL,
            warm: Warm::new(log),
            task: None,
            shutdown: None,
        }
    }

    pub(crate) fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.writable.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn log_readable(&self) -> BorrowedFd<'_> {
        self.warm.log.readable()
    }

    pub(crate) fn pump_log(&mut self, buffer: &mut [u8]) {
        self.warm.log.pump(buffer);
    }

    /// Names every descriptor that sessions wait for, with whether to read and to write it.
    pub(crate) fn waits<'a>(&'a self, link: &Link, add: &mut impl FnMut(BorrowedFd<'a>, bool, bool)) {
        let room = link.has_room();
        if !link.is_open() {
            return;
        }
        for session in self.sessions.values() {
            session.waits(room, add);
        }
        if let Some((fd, read, write)) = self.warm.waits(room) {
            add(fd, read, write);
        }
    }

    /// When there is something to do even if nothing happens.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let task = self.task.as_ref().map(|task| task.wake(&self.config));
        task.into_iter().chain(self.shutdown).min()
    }

    /// Whether it is time to power off; `told`: the host has the answer.
    pub(crate) fn shutdown_due(&self, told: bool) -> bool {
        self.shutdown.is_some_and(|latest| told || Instant::now() >= latest)
    }

    pub(crate) fn reaped(&mut self, link: &mut Link, pid: Pid, status: ExitStatus) {
        if !self.sessions.values_mut().any(|session| session.reaped(pid, status))
            && !self.warm.reaped(pid, status, link)
            && let Some(task) = &mut self.task
        {
            task.reaped(pid, status);
        }
    }

    /// Moves everything that can be moved.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) {
        if !link.is_open() {
            return;
        }
        self.pump_sessions(link, buffer);
        self.warm.pump(link, buffer);
        if let Some(task) = &mut self.task
            && let Some(reply) = task.poll(&mut self.warm, &self.config, buffer)
        {
            self.task = None;
            link.queue().reply(SessionId::CONTROL, &reply);
        }
    }

    fn pump_sessions(&mut self, link: &mut Link, buffer: &mut [u8]) {
        let from_turn = self.sessions.range(self.turn..).chain(self.sessions.range(..self.turn));
        let order: Vec<SessionId> = from_turn.map(|(id, _)| *id).collect();
        self.turn = order.get(1).copied().unwrap_or(SessionId::CONTROL);
        for id in order {
            if self.sessions.get_mut(&id).is_some_and(|session| session.pump(link, buffer)) {
                self.sessions.remove(&id);
            }
        }
    }

    pub(crate) fn receive(&mut self, link: &mut Link, received: &Received<'_>) {
        match *received {
            Received::Ended => self.forget_connection(),
            Received::Incoming(Incoming::Hello(greeting)) => {
                self.forget_connection();
                link.accept(&greeting);
            }
            Received::Incoming(Incoming::Resume) => {
                link.resume();
                link.queue().reply(SessionId::CONTROL, &Reply::Resumed {});
            }
            // What a host sends while the connection is being quieted was promised not to come.
            Received::Incoming(_) if !link.is_open() => {}
            Received::Incoming(Incoming::Control(session, payload)) => self.control(link, session, payload),
            Received::Incoming(Incoming::Data(session, _, bytes)) => {
                if let Some(open) = self.sessions.get_mut(&session)
                    && let Err(failure) = open.input(bytes)
                {
                    self.fail(link, session, failure);
                }
            }
            Received::Incoming(Incoming::Credit(session, credit)) => {
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.credit(credit.stream, credit.bytes);
                }
                self.warm.evals.credit(session, credit.stream, credit.bytes);
            }
            // The link tells of these otherwise.
            Received::Incoming(Incoming::HelloReply(_) | Incoming::Lost(_)) => {}
        }
    }

    /// Ends all that the connection has started, except the warm process.
    fn forget_connection(&mut self) {
        for mut session in std::mem::take(&mut self.sessions).into_values() {
            session.signal(signal::KILL);
        }
        self.warm.abandon_evals();
        if let Some(task) = self.task.take() {
            task.cancel();
        }
    }

    fn control(&mut self, link: &mut Link, session: SessionId, payload: &[u8]) {
        let result = match parse_request(payload) {
            Err(error) => Err(failure(FailureKind::BadRequest, error.to_string())),
            Ok(request) if request.since() > SPEAKS => {
                let message = format!("this agent speaks version {SPEAKS}, which has no such request");
                Err(failure(FailureKind::BadRequest, message))
            }
            Ok(request) if session == SessionId::CONTROL => self.control_agent(link, &request),
            Ok(request) => self.control_session(link, session, request),
        };
        if let Err(failure) = result {
            self.fail(link, session, failure);
        }
    }

    /// Answers with a failure, which ends the session.
    fn fail(&mut self, link: &mut Link, session: SessionId, failure: Failure) {
        if let Some(mut open) = self.sessions.remove(&session) {
            open.signal(signal::KILL);
        }
        if self.warm.evals.remove(session) {
            self.warm.signal(signal::INT);
        }
        link.queue().reply(session, &Reply::Failed(failure));
    }

    fn control_agent(&mut self, link: &mut Link, request: &Request) -> Result<(), Failure> {
        if let Request::Ping {} = request {
            link.queue().reply(SessionId::CONTROL, &Reply::Pong {});
            return Ok(());
        }
        if self.task.is_some() || self.shutdown.is_some() {
            let message = "another request of session 0 is not done".to_owned();
            return Err(failure(FailureKind::Busy, message));
        }
        match request {
            Request::Warm { deadline_ms } => {
                self.task = Some(Task::warm(*deadline_ms, &mut self.warm, &self.config)?);
            }
            Request::Identity(identity) => {
                self.task = Some(Task::identity(identity, &mut self.warm, &self.config)?);
            }
            Request::Provide(given) => {
                self.provided.take(given, &mut self.config)?;
                link.queue().reply(SessionId::CONTROL, &Reply::Provided {});
            }
            Request::Withdraw {} => {
                self.provided.withdraw(&mut self.config)?;
                link.queue().reply(SessionId::CONTROL, &Reply::Withdrawn {});
            }
            Request::Attach(disk) => {
                data::attach(*disk)?;
                link.queue().reply(SessionId::CONTROL, &Reply::Attached {});
            }
            Request::Sync {} => {
                self.sync()
                    .map_err(|error| failure(FailureKind::Io, format!("cannot flush the disks: {error}")))?;
                link.queue().reply(SessionId::CONTROL, &Reply::SyncDone {});
                link.quiet();
            }
            Request::Shutdown {} => {
                link.queue().reply(SessionId::CONTROL, &Reply::ShuttingDown {});
                link.quiet();
                self.shutdown = Some(Instant::now() + FAREWELL);
            }
            _ => {
                let message = "this request needs a session of its own: session 0 is the agent's".to_owned();
                return Err(failure(FailureKind::BadRequest, message));
            }
        }
        Ok(())
    }

    fn control_session(
        &mut self,
        link: &mut Link,
        session: SessionId,
        request: Request,
    ) -> Result<(), Failure> {
        let known = self.sessions.contains_key(&session) || self.warm.evals.contains(session);
        match request {
            Request::Signal { number } => {
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.signal(number);
                }
                self.signal_eval(link, session, number);
            }
            Request::Resize(size) => {
                if let Some(open) = self.sessions.get(&session) {
                    open.resize(size);
                }
            }
            _ if known => {
                return Err(failure(FailureKind::BadRequest, format!("session {session} is in use")));
            }
            _ if self.sessions.len() + self.warm.evals.len() >= MAX_SESSIONS => {
                return Err(failure(FailureKind::Busy, format!("{MAX_SESSIONS} sessions are open already")));
            }
            Request::Exec(exec) => self.exec(link, session, &exec)?,
            Request::Archive(archive) => self.exec(link, session, &tool::archive(archive))?,
            Request::Extract(extract) => self.exec(link, session, &tool::extract(extract))?,
            Request::Release {} => self.exec(link, session, &tool::release())?,
            Request::Connect { port } => {
                self.sessions.insert(session, Session::Connection(Connection::start(session, port)?));
            }
            Request::Eval { code } => {
                self.warm.check_runner()?;
                self.warm.evals.push(session, code);
            }
            _ => {
                let message = "this request concerns the agent: send it in session 0".to_owned();
                return Err(failure(FailureKind::BadRequest, message));
            }
        }
        Ok(())
    }

    fn exec(&mut self, link: &mut Link, session: SessionId, exec: &Exec) -> Result<(), Failure> {
        let exec = ExecSession::start(session, exec, &self.config)?;
        let pid = exec.pid().as_raw_nonzero().get().unsigned_abs();
        link.queue().reply(session, &Reply::Started { pid });
        self.sessions.insert(session, Session::Exec(exec));
        Ok(())
    }

    /// A running evaluation gets the signal; a waiting one is answered as interrupted by it. So is a running one by
    /// SIGKILL, which would take with it what all others have left in the warm process: its code is interrupted.
    fn signal_eval(&mut self, link: &mut Link, session: SessionId, number: i32) {
        if !self.warm.evals.contains(session) {
            return;
        }
        let running = self.warm.evals.is_running(session);
        if running {
            self.warm.signal(if number == signal::KILL { signal::INT } else { number });
        }
        if !running || number == signal::KILL {
            self.warm.evals.remove(session);
            link.queue().reply(session, &Reply::Exit(ExitStatus::Signal(number)));
        }
    }

    fn sync(&self) -> io::Result<()> {
        rustix::fs::sync();
        let Some(writable) = &self.writable else { return Ok(()) };
        // Unlike sync, this tells of errors.
        rustix::fs::syncfs(writable)?;
        match sys::trim(writable.as_fd()) {
            // The disk cannot discard: what is free stays in the snapshot, which is only larger then.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            other => other,
        }
    }
}
