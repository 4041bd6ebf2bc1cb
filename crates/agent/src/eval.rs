//! Evaluations in the order they came. Only the first one can be running.

use std::collections::VecDeque;

use agent_protocol::{ExitStatus, Failure, INITIAL_CREDIT, Reply, SessionId, Stream};

use crate::link::Link;
use crate::runner::Runner;

#[derive(Default)]
pub(crate) struct Evals {
    queue: VecDeque<Eval>,
}

struct Eval {
    session: SessionId,
    code: String,
    /// The runner's number for it, once it was handed over.
    number: Option<u64>,
    /// For stdout and stderr, in bytes.
    credit: [u64; 2],
    /// Output that waits for credit; the runner is not read meanwhile.
    held: Option<(Stream, Vec<u8>)>,
    /// Whether the code ended well.
    done: Option<bool>,
}

impl Evals {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.queue.iter().any(|eval| eval.session == session)
    }

    pub(crate) fn push(&mut self, session: SessionId, code: String) {
        let credit = [u64::from(INITIAL_CREDIT); 2];
        self.queue.push_back(Eval { session, code, number: None, credit, held: None, done: None });
    }

    /// Forgets an evaluation; whether it was running.
    pub(crate) fn remove(&mut self, session: SessionId) -> bool {
        let running = self.is_running(session);
        self.queue.retain(|eval| eval.session != session);
        running
    }

    /// Forgets all; whether one was running.
    pub(crate) fn clear(&mut self) -> bool {
        let running = self.queue.front().is_some_and(Eval::is_running);
        self.queue.clear();
        running
    }

    /// Answers all with the same failure.
    pub(crate) fn fail_all(&mut self, link: &mut Link, failure: &Failure) {
        for eval in self.queue.drain(..) {
            link.queue().reply(eval.session, &Reply::Failed(failure.clone()));
        }
    }

    pub(crate) fn is_running(&self, session: SessionId) -> bool {
        self.queue.front().is_some_and(|eval| eval.session == session && eval.is_running())
    }

    pub(crate) fn credit(&mut self, session: SessionId, stream: Stream, bytes: u32) {
        if let Some(eval) = self.queue.iter_mut().find(|eval| eval.session == session)
            && let Some(credit) = eval.credit_of(stream)
        {
            *credit = credit.saturating_add(bytes.into());
        }
    }

    /// Whether the running one can take more output.
    pub(crate) fn takes_output(&self) -> bool {
        self.queue.front().is_none_or(|eval| eval.held.is_none())
    }

    /// Takes output of the evaluation with this number; that of a forgotten one is dropped.
    pub(crate) fn output(&mut self, number: u64, stream: Stream, data: String) {
        if let Some(eval) = self.numbered(number)
            && !data.is_empty()
        {
            eval.held = Some((stream, data.into_bytes()));
        }
    }

    pub(crate) fn done(&mut self, number: u64, ok: bool) {
        if let Some(eval) = self.numbered(number) {
            eval.done = Some(ok);
        }
    }

    /// Sends what credit allows, and the end.
    pub(crate) fn pump(&mut self, link: &mut Link) {
        let Some(eval) = self.queue.front_mut() else { return };
        eval.send_held(link);
        if let (Some(ok), None) = (eval.done, &eval.held) {
            link.queue().end(eval.session, Stream::Stdout);
            link.queue().end(eval.session, Stream::Stderr);
            link.queue().reply(eval.session, &Reply::Exit(ExitStatus::Code(i32::from(!ok))));
            self.queue.pop_front();
        }
    }

    /// Hands the next one to an idle runner.
    pub(crate) fn start_next(&mut self, runner: &mut Runner) {
        if let Some(eval) = self.queue.front_mut()
            && eval.number.is_none()
        {
            eval.number = Some(runner.eval(&eval.code));
            eval.code = String::new();
        }
    }

    fn numbered(&mut self, number: u64) -> Option<&mut Eval> {
        self.queue.front_mut().filter(|eval| eval.number == Some(number))
    }
}

impl Eval {
    fn is_running(&self) -> bool {
        self.number.is_some() && self.done.is_none()
    }

    fn credit_of(&mut self, stream: Stream) -> Option<&mut u64> {
        let [stdout, stderr] = &mut self.credit;
        match stream {
            Stream::Stdin => None,
            Stream::Stdout => Some(stdout),
            Stream::Stderr => Some(stderr),
        }
    }

    fn send_held(&mut self, link: &mut Link) {
        let Some((stream, mut bytes)) = self.held.take() else { return };
        let session = self.session;
        let Some(credit) = self.credit_of(stream) else { return };
        if link.has_room() {
            let count = usize::try_from(*credit).unwrap_or(usize::MAX).min(bytes.len());
            *credit -= count as u64;
            let rest = bytes.split_off(count);
            link.queue().data(session, stream, &bytes);
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.held = Some((stream, bytes));
        }
    }
}
