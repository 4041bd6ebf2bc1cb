//! The one longer request of session 0 that may be going on: a warm-up or an identity.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use agent_protocol::{ExitStatus, Failure, FailureKind, GuestConfig, Identity, Ready, Reply, signal};
use rustix::process::Pid;

use crate::identity;
use crate::spawn::{Descriptors, Program, failure, spawn};
use crate::sys::{self, Extra};
use crate::warm::{Reseed, Warm};

/// How often a file is looked for.
const FILE_INTERVAL: Duration = Duration::from_millis(20);
/// A longer deadline is cut to this.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Task {
    deadline: Instant,
    allowed: Duration,
    step: Step,
}

enum Step {
    /// Until the warm process is ready, by its runner's word or by probes from this time on.
    Warm(Instant),
    /// A probe runs.
    Probe(Pid, Option<ExitStatus>),
    /// The runner has been asked to reseed.
    Reseed,
    /// `on_fork` runs.
    OnFork(Pid, Option<ExitStatus>),
}

impl Task {
    /// Begins a warm-up.
    pub(crate) fn warm(deadline_ms: u64, warm: &mut Warm, config: &GuestConfig) -> Result<Self, Failure> {
        warm.start(config)?;
        Ok(Self::new(deadline_ms, Step::Warm(Instant::now())))
    }

    /// Begins an identity, with all the steps that need no waiting.
    pub(crate) fn identity(
        request: &Identity,
        warm: &mut Warm,
        config: &GuestConfig,
    ) -> Result<Self, Failure> {
        let fail = |message| failure(FailureKind::Identity, message);
        identity::apply(request, config.network.as_ref()).map_err(|error| fail(error.to_string()))?;
        let seed =
            identity::runner_seed().map_err(|error| fail(format!("the step `runner` failed: {error}")))?;
        // Without a runner there is nothing to wait for, which `poll` finds.
        warm.reseed(seed);
        Ok(Self::new(request.deadline_ms, Step::Reseed))
    }

    fn new(deadline_ms: u64, step: Step) -> Self {
        let allowed = Duration::from_millis(deadline_ms).min(DEADLINE_MAX);
        Task { deadline: Instant::now() + allowed, allowed, step }
    }

    /// Cuts what is left of the deadline to `time`.
    fn allow(&mut self, time: Duration) {
        let end = Instant::now() + time.min(DEADLINE_MAX);
        if end < self.deadline {
            (self.deadline, self.allowed) = (end, time);
        }
    }

    /// When it has to be looked at again even if nothing happens.
    pub(crate) fn wake(&self, config: &GuestConfig) -> Instant {
        let ready = config.warm.as_ref().map(|warm| &warm.ready);
        match self.step {
            Step::Warm(probe_at) if ready != Some(&Ready::Runner) => self.deadline.min(probe_at),
            _ => self.deadline,
        }
    }

    /// Takes the end of a process, if it was this task's.
    pub(crate) fn reaped(&mut self, pid: Pid, ended: ExitStatus) {
        match &mut self.step {
            Step::Probe(own, status) | Step::OnFork(own, status) if *own == pid => *status = Some(ended),
            _ => {}
        }
    }

    /// Gives the task up, and what it started.
    pub(crate) fn cancel(&self) {
        if let Step::Probe(pid, None) | Step::OnFork(pid, None) = self.step {
            // It may have ended by itself.
            let _ = sys::kill(Some(pid), signal::KILL);
        }
    }

    /// Goes on as far as possible. The answer, when there is one.
    pub(crate) fn poll(&mut self, warm: &mut Warm, config: &GuestConfig, buffer: &mut [u8]) -> Option<Reply> {
        match self.advance(warm, config) {
            Ok(None) if Instant::now() < self.deadline => None,
            Ok(None) => {
                self.cancel();
                let quote = warm.log.quote(buffer);
                let message = format!("{} within {:?}{quote}", self.late(), self.allowed);
                Some(Reply::Failed(failure(FailureKind::Deadline, message)))
            }
            Ok(reply) => reply,
            Err(mut failure) => {
                failure.message.push_str(&warm.log.quote(buffer));
                Some(Reply::Failed(failure))
            }
        }
    }

    fn late(&self) -> &'static str {
        match self.step {
            Step::Warm(_) | Step::Probe(..) => "the warm process was not ready",
            Step::Reseed => "the step `runner` failed: the runner did not acknowledge",
            Step::OnFork(..) => "the step `on_fork` failed: the command did not end",
        }
    }

    fn advance(&mut self, warm: &mut Warm, config: &GuestConfig) -> Result<Option<Reply>, Failure> {
        match self.step {
            Step::Warm(_) | Step::Probe(..) => {
                if warm.is_ready() {
                    return Ok(Some(Reply::Warmed {}));
                }
                if let Some(how) = warm.end() {
                    let message = format!("the warm process was not ready when it ended: {how}");
                    return Err(failure(FailureKind::Warm, message));
                }
                self.probe(warm, config)
            }
            Step::Reseed => match (warm.reseed_state(), &config.on_fork) {
                (Reseed::Asked, _) => Ok(None),
                (Reseed::Lost, _) => {
                    let message =
                        "the step `runner` failed: the runner was lost before it acknowledged".to_owned();
                    Err(failure(FailureKind::Identity, message))
                }
                (Reseed::Done, None) => Ok(Some(Reply::IdentityDone {})),
                (Reseed::Done, Some(on_fork)) => {
                    self.step = Step::OnFork(run(&on_fork.argv, warm, config)?, None);
                    self.allow(Duration::from_millis(on_fork.deadline_ms));
                    Ok(None)
                }
            },
            Step::OnFork(_, None) => Ok(None),
            Step::OnFork(_, Some(ExitStatus::Code(0))) => Ok(Some(Reply::IdentityDone {})),
            Step::OnFork(_, Some(status)) => {
                let status = status.shell_status();
                let message = format!("the step `on_fork` failed: the command ended with status {status}");
                Err(failure(FailureKind::Identity, message))
            }
        }
    }

    fn probe(&mut self, warm: &mut Warm, config: &GuestConfig) -> Result<Option<Reply>, Failure> {
        let now = Instant::now();
        let ready = config.warm.as_ref().map(|warm| &warm.ready);
        match (&self.step, ready) {
            (Step::Probe(_, Some(ExitStatus::Code(0))), _) => {
                warm.set_ready();
                return Ok(Some(Reply::Warmed {}));
            }
            (Step::Probe(_, Some(_)), Some(Ready::Command { interval_ms, .. })) => {
                self.step = Step::Warm(now + Duration::from_millis(*interval_ms).min(DEADLINE_MAX));
            }
            (Step::Warm(at), Some(Ready::Command { argv, .. })) if *at <= now => {
                self.step = Step::Probe(run(argv, warm, config)?, None);
            }
            (Step::Warm(at), Some(Ready::File { path })) if *at <= now => {
                if Path::new(path).exists() {
                    warm.set_ready();
                    return Ok(Some(Reply::Warmed {}));
                }
                self.step = Step::Warm(now + FILE_INTERVAL);
            }
            _ => {}
        }
        Ok(None)
    }
}

/// Starts a command whose output goes to the warm log.
fn run(argv: &[String], warm: &Warm, config: &GuestConfig) -> Result<Pid, Failure> {
    let io_failure = |error| failure(FailureKind::Io, format!("cannot hand over the log: {error}"));
    let stdout = warm.log.writer().map_err(io_failure)?;
    let stderr = warm.log.writer().map_err(io_failure)?;
    let program = Program { argv, env: &Default::default(), cwd: None, user: None };
    spawn(config, &program, Descriptors { stdin: Stdio::null(), stdout, stderr, extra: Extra::None })
}
