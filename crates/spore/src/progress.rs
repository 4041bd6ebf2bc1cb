//! Progress on standard error: only where somebody is looking.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use format::Digest;
use hub::Event;
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::options::Options;
use crate::output::{self, Level};

/// Whether progress is to be shown.
pub(crate) fn is_wanted(options: &Options) -> bool {
    !options.quiet && !output::logs_json() && std::io::stderr().is_terminal()
}

/// Says once what is about to be done: to who is looking, and to who reads the log.
pub(crate) fn note(options: &Options, text: &str) {
    if is_wanted(options) || output::logs_json() && !options.quiet {
        output::say(Level::Info, text);
    }
}

/// One line that says what a long act is doing.
pub(crate) struct Stages {
    line: ProgressBar,
}

impl Stages {
    pub(crate) fn new(options: &Options) -> Self {
        if !is_wanted(options) {
            return Self { line: ProgressBar::hidden() };
        }
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix:>8}  {wide_msg}") {
            line.set_style(style);
        }
        line.enable_steady_tick(Duration::from_millis(120));
        Self { line }
    }

    pub(crate) fn finish(&self) {
        self.line.finish_and_clear();
    }
}

impl rootfs::Progress for Stages {
    fn stage(&self, name: &str, detail: &str) {
        if self.line.prefix() != name && !self.line.prefix().is_empty() {
            self.line.println(format!("{:>8}  {} done", "", self.line.prefix()));
        }
        self.line.set_prefix(name.to_owned());
        self.line.set_message(detail.to_owned());
    }
}

/// A bar that counts.
pub(crate) fn counter(options: &Options, length: u64, what: &'static str) -> ProgressBar {
    if !is_wanted(options) || length < 2 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// A bar of bytes, with rate and time left. Its length is set when it is known.
pub(crate) fn bytes(options: &Options, what: &'static str) -> ProgressBar {
    if !is_wanted(options) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(&bytes_template("{binary_bytes_per_sec}", "{eta}")) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// What has moved of an act whose end is not known, in bytes.
pub(crate) fn moved(options: &Options, what: &'static str) -> ProgressBar {
    if !is_wanted(options) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{msg} {binary_bytes} {binary_bytes_per_sec}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// An act that takes a while and has no end that is known.
fn spinner(options: &Options, what: &'static str) -> ProgressBar {
    if !is_wanted(options) {
        return ProgressBar::hidden();
    }
    let line = ProgressBar::new_spinner();
    line.set_message(what);
    line.enable_steady_tick(Duration::from_millis(120));
    line
}

/// The bar of a pack that is written or read, which hears Ctrl-C.
pub(crate) struct PackBar {
    bar: ProgressBar,
    interrupted: &'static AtomicBool,
}

impl PackBar {
    /// Of so many bytes.
    pub(crate) fn new(
        options: &Options,
        what: &'static str,
        length: u64,
        interrupted: &'static AtomicBool,
    ) -> Self {
        let bar = bytes(options, what);
        bar.set_length(length);
        Self { bar, interrupted }
    }

    /// Where all is read, and flat files may be left to be laid out.
    pub(crate) fn of_the_rest(options: &Options, interrupted: &'static AtomicBool) -> Self {
        Self { bar: spinner(options, "finishing"), interrupted }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl pack::Progress for PackBar {
    fn moved(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn laying_out(&self) {
        self.bar.set_message("laying out");
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}

fn bytes_template(rate: &str, left: &str) -> String {
    format!("{{msg}} {{bar:30}} {{binary_bytes}}/{{binary_total_bytes}} {rate} {left} left")
}

/// A rate without what is less than a byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no rate is negative, or near the most that fits"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

/// The bar of a transfer. Its position is what is there, from an earlier try too; its rate and time left come from
/// what has moved.
pub(crate) struct Transfer {
    bar: ProgressBar,
    /// Never drawn: its position is what has moved, its rate how fast.
    moved: ProgressBar,
    /// What the bar shows of each blob that is under way: one that begins anew takes it back.
    blobs: Mutex<HashMap<Digest, u64>>,
}

impl Transfer {
    pub(crate) fn new(options: &Options, what: &'static str) -> Self {
        let (bar, moved) = (bytes(options, what), ProgressBar::hidden());
        if let Ok(style) = ProgressStyle::with_template(&bytes_template("{moved_per_sec}", "{moved_eta}")) {
            let (rate, eta) = (moved.clone(), moved.clone());
            bar.set_style(
                style
                    .with_key("moved_per_sec", move |_: &ProgressState, out: &mut dyn fmt::Write| {
                        write!(out, "{}/s", BinaryBytes(whole(rate.per_sec()))).ok();
                    })
                    .with_key("moved_eta", move |state: &ProgressState, out: &mut dyn fmt::Write| {
                        let missing = state.len().unwrap_or_default().saturating_sub(state.pos());
                        write!(out, "{}", time_left(missing, eta.per_sec())).ok();
                    }),
            );
        }
        Self { bar, moved, blobs: Mutex::default() }
    }

    /// Bytes that have moved.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.position()
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How long `missing` bytes take at `rate` bytes a second; `?` where nothing has moved yet.
fn time_left(missing: u64, rate: f64) -> String {
    match Duration::try_from_secs_f64(missing as f64 / rate) {
        Ok(left) => format!("{:#}", HumanDuration(left)),
        Err(_) => "?".to_owned(),
    }
}

impl hub::Progress for Transfer {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { bytes, .. } => {
                self.bar.set_length(bytes);
                self.moved.reset_eta();
            }
            Event::BlobStarted { digest, offset, .. } => {
                let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                let shown = blobs.insert(digest, offset).unwrap_or(0);
                self.bar.set_position((self.bar.position() + offset).saturating_sub(shown));
            }
            Event::Moved { digest, bytes } => {
                self.moved.inc(bytes);
                let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                *blobs.entry(digest).or_default() += bytes;
                self.bar.inc(bytes);
            }
            Event::Waiting { digest } => {
                self.bar.println(format!("another process fetches {}: waiting for it", digest.short()));
            }
            Event::Warning { text } => {
                // Whoever asked for quiet asked for no progress: this changes what a pull can be expected to bring.
                self.bar.suspend(|| output::warning(text));
            }
            Event::LayingOut => self.bar.set_message("laying out"),
            Event::BlobDone { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use hub::Progress as _;

    use super::*;

    #[test]
    fn what_an_earlier_try_left_is_position_and_not_rate() {
        let bar = ProgressBar::hidden();
        let transfer = Transfer { bar, moved: ProgressBar::hidden(), blobs: Mutex::default() };
        let digest = Digest::of(b"x");
        let started = |offset| Event::BlobStarted { digest, role: "frames of memory", size: 1000, offset };
        transfer.event(Event::Started { blobs: 1, bytes: 1000 });
        transfer.event(started(700));
        assert_eq!((transfer.bar.position(), transfer.moved()), (700, 0));
        assert_eq!(transfer.moved.per_sec(), 0.0);
        transfer.event(Event::Moved { digest, bytes: 100 });
        assert_eq!((transfer.bar.position(), transfer.moved()), (800, 100));
        // It begins anew: what moved has moved, and is no longer there.
        transfer.event(started(0));
        transfer.event(Event::Moved { digest, bytes: 50 });
        assert_eq!((transfer.bar.position(), transfer.moved()), (50, 150));
    }

    #[test]
    fn time_left_is_known_once_something_has_moved() {
        assert_eq!(time_left(3000, 1000.0), "3s");
        assert_eq!(time_left(0, 1000.0), "0s");
        for rate in [0.0, f64::NAN] {
            assert_eq!((time_left(3000, rate), time_left(0, rate)), ("?".to_owned(), "?".to_owned()));
        }
    }
}
