//! One call of a command that writes to a file is made to fail, or to write less than it was asked to.
//!
//! It is what strace's `inject` does, which cannot be used here: it counts the calls of each thread apart (a file of a push is
//! written by whichever threads of a pool are idle), chooses files by their whole names (which are random), and makes
//! no write short. Here calls are counted over all threads, those of each kind in each place apart, so that a number means the
//! same call however threads take turns. The command's children run undisturbed.
//!
//! Only for x86-64, whose registers are changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{Call, Length, Watched};
use crate::harness::run::Run;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not made, and fails.
    Error(Errno),
    /// It is made for half of what was asked for, and succeeds.
    Short,
}

/// A fault of one call.
#[derive(Debug, Clone)]
pub struct Injected {
    pub call: Call,
    /// Which of the calls that are the same: 0 is the first.
    pub nth: usize,
    pub fault: Fault,
}

/// How a traced command has ended.
#[derive(Debug)]
pub struct Traced {
    pub status: ExitStatus,
    pub output: String,
    /// What was counted, in order.
    pub calls: Vec<Call>,
    /// Whether the call was made that was to fail.
    pub was_injected: bool,
}

/// Runs a command to its end. Its output goes to the file `output`.
#[track_caller]
pub fn run(
    command: Run,
    output: &Path,
    folders: &[Watched<'_>],
    injected: Option<&Injected>,
    deadline: Duration,
) -> Traced {
    // All of ptrace is between a thread and those that it traces: one of its own has no children but them.
    let trace = || {
        let child = hold(command, output);
        let leader = Pid::from_raw(child.id().try_into().unwrap());
        let (ended, has_ended) = channel::<()>();
        let watch = move || {
            if has_ended.recv_timeout(deadline).is_err() {
                // Not yet waited for, so that the number is still its own.
                nix::sys::signal::kill(leader, nix::sys::signal::SIGKILL).ok();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(watch);
            let mut tracer =
                Tracer { folders, injected, calls: Vec::new(), was_injected: false, within: HashMap::new() };
            let status = tracer.follow(child, leader);
            ended.send(()).ok();
            (status, tracer.calls, tracer.was_injected)
        })
    };
    let (status, calls, was_injected) = std::thread::scope(|scope| scope.spawn(trace).join().unwrap());
    let output = String::from_utf8_lossy(&fs::read(output).unwrap()).into_owned();
    assert!(status.signal() != Some(libc::SIGKILL), "it did not end within {deadline:?}: {output}");
    Traced { status, output, calls, was_injected }
}

/// Starts a shell that becomes the command when it has read a line.
fn hold(mut run: Run, output: &Path) -> Child {
    let output = File::create(output).unwrap();
    let given = run.command();
    let mut held = Command::new("/bin/sh");
    held.args(["-c", "read -r _ && exec \"$@\"", "sh"]).arg(given.get_program()).args(given.get_args());
    for (name, value) in given.get_envs() {
        match value {
            Some(value) => held.env(name, value),
            None => held.env_remove(name),
        };
    }
    held.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}

/// Follows the threads of one process.
struct Tracer<'a> {
    folders: &'a [Watched<'a>],
    injected: Option<&'a Injected>,
    calls: Vec<Call>,
    was_injected: bool,
    /// Threads within a call, and what is to be done when it ends.
    within: HashMap<Pid, Ending>,
}

/// What is done when a call ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Nothing,
    /// The result is this.
    Fails(Errno),
    /// The register gets back what the program has in it.
    Restore(Length, u64),
}

impl Tracer<'_> {
    fn follow(&mut self, mut child: Child, leader: Pid) -> ExitStatus {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(leader, options).unwrap();
        ptrace::interrupt(leader).unwrap();
        let mut line = child.stdin.take();
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            // A thread that is killed meanwhile is no longer there to go on.
            match waitpid(None, Some(flags)).unwrap() {
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread).ok();
                    ptrace::syscall(thread, None).ok();
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        // The call that ends next is the one that has led here.
                        self.within.insert(thread, Ending::Nothing);
                    }
                    ptrace::syscall(thread, None).ok();
                    // The first event is its answer to the interruption: from here on nothing is missed.
                    if let Some(mut line) = line.take() {
                        line.write_all(b"\n").unwrap();
                    }
                }
                WaitStatus::Stopped(thread, signal) => drop(ptrace::syscall(thread, signal)),
                WaitStatus::Exited(process, code) if process == leader => {
                    return ExitStatus::from_raw(code << 8);
                }
                WaitStatus::Signaled(process, signal, _) if process == leader => {
                    return ExitStatus::from_raw(signal as i32);
                }
                _ => {}
            }
        }
    }

    /// A thread is about to begin a call, or about to return from one.
    fn at_call(&mut self, thread: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(thread)?;
        match self.within.remove(&thread) {
            None => {
                let ending = self.begin(thread, &mut registers)?;
                self.within.insert(thread, ending);
                return Ok(());
            }
            Some(Ending::Nothing) => return Ok(()),
            Some(Ending::Fails(error)) => registers.rax = (-i64::from(error as i32)).cast_unsigned(),
            Some(Ending::Restore(length, value)) => *length.of(&mut registers) = value,
        }
        ptrace::setregs(thread, registers)
    }

    fn begin(&mut self, thread: Pid, registers: &mut libc::user_regs_struct) -> nix::Result<Ending> {
        let Some(call) = Call::of(thread, registers, self.folders) else { return Ok(Ending::Nothing) };
        let nth = self.calls.iter().filter(|before| **before == call).count();
        self.calls.push(call.clone());
        let is_it = |injected: &&Injected| injected.call == call && injected.nth == nth;
        let Some(Injected { fault, .. }) = self.injected.filter(is_it) else { return Ok(Ending::Nothing) };
        let ending = match (*fault, call.length) {
            (Fault::Error(error), _) => {
                // No call at all.
                registers.orig_rax = u64::MAX;
                Ending::Fails(error)
            }
            (Fault::Short, Some(length)) if *length.of(registers) > 1 => {
                let asked = *length.of(registers);
                *length.of(registers) = asked / 2;
                Ending::Restore(length, asked)
            }
            (Fault::Short, _) => return Ok(Ending::Nothing),
        };
        ptrace::setregs(thread, *registers)?;
        self.was_injected = true;
        Ok(ending)
    }
}
