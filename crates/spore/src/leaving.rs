//! How this process leaves a session that still runs: the guest is told, but not waited for.
//!
//! A guest is not trusted to end what it is asked to end. So whoever ends this process gets its end, within a second, with the
//! terminal as it was.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use agent_protocol::signal;
use sandbox::SessionInput;

use crate::terminal;

/// How long the session may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The way out. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Leaving {
    input: SessionInput,
    give_up: Arc<Mutex<dyn FnMut() + Send>>,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// The signal for which this process ends.
    number: Option<u8>,
    has_ended: bool,
}

impl Leaving {
    /// Of the session that `input` leads to. `give_up` is called before the process ends without it.
    pub(crate) fn new(input: SessionInput, give_up: impl FnMut() + Send + 'static) -> Self {
        Self { input, give_up: Arc::new(Mutex::new(give_up)), state: Arc::default() }
    }

    /// Hangs up. Returns if the session has ended by then, as [`Leaving::end`] says; else this process ends with 128 + `number`.
    pub(crate) fn by(&self, number: u8) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.number.get_or_insert(number);
        send_signal(&self.input, signal::HUP);
        let waited = changed.wait_timeout_while(state, GRACE, |state| !state.has_ended);
        if !waited.unwrap_or_else(PoisonError::into_inner).0.has_ended {
            self.now(128_u8.saturating_add(number));
        }
    }

    /// Ends this process.
    pub(crate) fn now(&self, status: u8) -> ! {
        terminal::restore();
        self.give_up.lock().unwrap_or_else(PoisonError::into_inner)();
        std::process::exit(status.into())
    }

    /// Notes that the session has ended. Gives the exit status if this process was told to leave before.
    pub(crate) fn end(&self) -> Option<u8> {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.has_ended = true;
        changed.notify_all();
        state.number.map(|number| 128_u8.saturating_add(number))
    }
}

/// Sends a signal to a session, from a thread of its own: one that does not read must not hold up who sends it.
pub(crate) fn send_signal(input: &SessionInput, number: i32) {
    let input = input.clone();
    std::thread::spawn(move || input.signal(number).ok());
}
