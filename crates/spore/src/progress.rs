//! Progress on standard error: only where somebody is looking.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Options;

/// Whether progress is to be shown.
pub(crate) fn is_wanted(options: &Options) -> bool {
    !options.quiet && std::io::stderr().is_terminal()
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
