//! What Ctrl-C and SIGTERM do. A process has one handler, and a verb can go through several acts (fetch, fork, exec):
//! each says in turn what an interruption means for it.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{CliError, INTERRUPTED};

type Action = Box<dyn FnMut() + Send>;

static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Whether there was an interruption, at which no act may have been listening: the next one then does not begin.
///
/// The signal itself sets it. Ctrl-C ends the tools that a command runs as well, and why one of them has failed is not to be asked before
/// a thread has had its turn.
static INTERRUPTION: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Lets interruptions call `action` from here on, on a thread of their own.
pub(crate) fn on_interrupt(action: impl FnMut() + Send + 'static) -> Result<(), CliError> {
    static HANDLER: OnceLock<Result<(), String>> = OnceLock::new();
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
    let installed = HANDLER.get_or_init(|| listen().map_err(|error| error.to_string()));
    installed.clone().map_err(|error| CliError::Failed(format!("cannot handle Ctrl-C: {error}")))
}

fn listen() -> io::Result<()> {
    const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    // First what keeps a signal for the thread: one that comes before the flags are there sets them by its action.
    let mut signals = Signals::new(SIGNALS)?;
    for signal in SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTION))?;
    }
    thread::Builder::new().name("ctrl-c".to_owned()).spawn(move || {
        for _ in &mut signals {
            INTERRUPTION.store(true, Ordering::SeqCst);
            if let Some(action) = &mut *ACTION.lock().unwrap_or_else(PoisonError::into_inner) {
                action();
            }
        }
    })?;
    Ok(())
}

/// Remembers an interruption. A second one ends the process at once; what it leaves is swept later.
fn note() {
    static NOTED: AtomicBool = AtomicBool::new(false);
    if NOTED.swap(true, Ordering::SeqCst) {
        std::process::exit(INTERRUPTED.into());
    }
}

/// Lets the first interruption end a connection, so that whoever reads from it can clean up. A second one ends the process
/// at once.
pub(crate) fn hang_up(connection: UnixStream) -> Result<(), CliError> {
    on_interrupt(move || {
        note();
        // One that has ended already is no obstacle.
        connection.shutdown(Shutdown::Both).ok();
    })
}

/// Whether there was an interruption since [`hang_up`] or [`flag`] has begun to look for one.
pub(crate) fn has_come() -> bool {
    INTERRUPTION.load(Ordering::SeqCst)
}

/// A flag that the first interruption sets. A second one ends the process at once.
pub(crate) fn flag() -> Result<&'static AtomicBool, CliError> {
    on_interrupt(note)?;
    Ok(&**INTERRUPTION)
}

/// Lets the first interruption end the process, as it ends every tool in a pipe: for what leaves nothing behind.
pub(crate) fn ends_process() -> Result<(), CliError> {
    on_interrupt(|| std::process::exit(INTERRUPTED.into()))?;
    if has_come() {
        return Err(CliError::Interrupted);
    }
    Ok(())
}

/// How long threads that a future has left may tidy up. One that waits for a lock of another process does not hear that nobody
/// waits for it.
const TIDYING: Duration = Duration::from_secs(5);

/// Runs a future to its end, or drops it at the first interruption. A second one ends the process at once.
pub(crate) fn block_on<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<T, CliError>
where
    CliError: From<E>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "start the threads of a transfer".into(), source })?;
    let (interrupt, mut interrupted) = tokio::sync::watch::channel(());
    on_interrupt(move || {
        note();
        // That nobody listens any more is no error: the act has ended, and the next one sees what was noted.
        interrupt.send(()).ok();
    })?;
    if has_come() {
        return Err(CliError::Interrupted);
    }
    let result = runtime.block_on(async {
        tokio::select! {
            result = future => Ok(result?),
            Ok(()) = interrupted.changed() => Err(CliError::Interrupted),
        }
    });
    runtime.shutdown_timeout(TIDYING);
    result
}
