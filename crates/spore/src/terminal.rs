//! The terminal that this process has, while a program in a guest has one of its own.
//!
//! The program's terminal does what terminals do (echo, line editing, Ctrl-C), so ours passes every key on as it is. Ours gets its
//! modes back however this process ends: at the end of a session, before an exit, at a panic, and at signals that would end it,
//! whether or not the guest answers; SIGKILL alone leaves it raw, for which there is `reset`.

use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use agent_protocol::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sandbox::SessionInput;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{CliError, Doing};

/// The modes that the terminal had, while it is raw.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Signals that end a process. The first three are keys at a terminal that is not raw, and handled with them.
const ENDING: [SignalKind; 7] = [
    SignalKind::interrupt(),
    SignalKind::terminate(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::alarm(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];
const KEYS: usize = 3;

/// The terminal that a program in a guest is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// Keys are passed on.
    Input,
    /// Only what the program writes.
    Output,
}

/// Our terminal while it is lent to a guest's program. Dropped, it is ours again.
pub(crate) struct Lent {
    /// Ends the thread that watches for signals.
    _watch: tokio::sync::oneshot::Sender<()>,
}

impl Terminal {
    /// The terminal of this process: that of standard input if keys are to be passed on, else that of standard output.
    pub(crate) fn find(interactive: bool) -> Result<Self, CliError> {
        let missing =
            |what| CliError::Usage(format!("--tty needs a terminal, and {what} is none: leave it out"));
        match interactive {
            true if stdin().is_terminal() => Ok(Self::Input),
            true => Err(missing("standard input")),
            false if stdout().is_terminal() => Ok(Self::Output),
            false => Err(missing("standard output")),
        }
    }

    /// Its size as it is.
    pub(crate) fn size(self) -> WindowSize {
        let size = match self {
            Self::Input => tcgetwinsize(stdin()),
            Self::Output => tcgetwinsize(stdout()),
        };
        // A terminal without a size is one of unknown size.
        size.map_or(WindowSize { rows: 0, columns: 0 }, |size| WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }

    /// Lends it to a session: keys go to it as they are, and it is told of every new size. `leave` is called with the number of
    /// a signal that is to end this process.
    pub(crate) fn lend(
        self,
        input: SessionInput,
        leave: impl Fn(u8) + Send + 'static,
    ) -> Result<Lent, CliError> {
        let (watch, unwatched) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.doing("watch for signals")?;
        let listen = |kind| {
            let _inside = runtime.enter();
            signal(kind).doing("watch for signals")
        };
        let mut resized = listen(SignalKind::window_change())?;
        let mut continued = listen(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
        let ending = ENDING.into_iter().skip(if self == Self::Input { 0 } else { KEYS });
        let ending = ending.map(|kind| Ok((kind, listen(kind)?))).collect::<Result<Vec<_>, CliError>>()?;
        if self == Self::Input {
            make_raw(stdin().as_fd())?;
        }
        // Apart from the signals: one that does not read holds up whoever tells it something.
        let (sized, sizes) = std::sync::mpsc::channel();
        std::thread::spawn(move || sizes.into_iter().try_for_each(|size| input.resize(size)).ok());
        std::thread::spawn(move || {
            runtime.block_on(async {
                let ended = first_of(ending);
                tokio::pin!(unwatched, ended);
                loop {
                    // Once at the beginning: it may have changed since its size was sent.
                    // A session that has ended has no use for it.
                    sized.send(self.size()).ok();
                    tokio::select! {
                        _ = &mut unwatched => return,
                        _ = resized.recv() => {}
                        // A shell gives a stopped process the modes of a line editor.
                        _ = continued.recv() => again(),
                        // The session may end of it, which ends all of this.
                        kind = &mut ended => return leave(u8::try_from(kind.as_raw_value()).unwrap_or(0)),
                    }
                }
            });
        });
        Ok(Lent { _watch: watch })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        restore();
    }
}

/// The first of these signals that comes.
async fn first_of(mut signals: Vec<(SignalKind, Signal)>) -> SignalKind {
    std::future::poll_fn(|context| {
        let mut came = signals
            .iter_mut()
            .filter_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
        came.next().map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}
fn make_raw(terminal: BorrowedFd<'_>) -> Result<(), CliError> {
    let own = tcgetattr(terminal).map_err(std::io::Error::from).doing("read the terminal's modes")?;
    *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(own.clone());
    let hook = std::panic::take_hook();
    // What a panic says is to be read.
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        hook(panic);
    }));
    let mut raw = own;
    raw.make_raw();
    tcsetattr(terminal, OptionalActions::Now, &raw)
        .map_err(std::io::Error::from)
        .doing("set the terminal's modes")
}

/// Makes a lent terminal raw once more.
fn again() {
    if let Some(own) = &*SAVED.lock().unwrap_or_else(PoisonError::into_inner) {
        let mut raw = own.clone();
        raw.make_raw();
        // One that has gone needs no modes.
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok();
    }
}

/// Gives our terminal the modes back that it had. Nothing if it was not lent.
pub(crate) fn restore() {
    if let Some(own) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // One that has gone needs no modes.
        tcsetattr(stdin(), OptionalActions::Now, &own).ok();
    }
}
