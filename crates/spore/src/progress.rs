//! Progress on standard error: only where somebody is looking.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use format::Digest;
use hub::Event;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Options;
use crate::output;

/// Whether progress is to be shown.
pub(crate) fn is_wanted(options: &Options) -> bool {
    !options.quiet && std::io::stderr().is_terminal()
}

/// Says once what is about to be done.
pub(crate) fn note(options: &Options, text: &str) {
    if is_wanted(options) {
        output::say(text);
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
    let template = "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// The bar of a transfer, which also counts what has moved.
pub(crate) struct Transfer {
    bar: ProgressBar,
    moved: AtomicU64,
    /// What the bar shows of each blob that is under way: one that begins anew takes it back.
    blobs: Mutex<HashMap<Digest, u64>>,
}

impl Transfer {
    pub(crate) fn new(options: &Options, what: &'static str) -> Self {
        let bar = bytes(options, what);
        Self { bar, moved: AtomicU64::new(0), blobs: Mutex::default() }
    }

    /// Bytes that have moved.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl hub::Progress for Transfer {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { bytes, .. } => self.bar.set_length(bytes),
            Event::BlobStarted { digest, offset, .. } => {
                let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                let shown = blobs.insert(digest, offset).unwrap_or(0);
                self.bar.set_position((self.bar.position() + offset).saturating_sub(shown));
            }
            Event::Moved { digest, bytes } => {
                self.moved.fetch_add(bytes, Ordering::Relaxed);
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
