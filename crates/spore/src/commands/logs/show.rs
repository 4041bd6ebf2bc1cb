//! How logs are shown: as they are, or a JSON object a line.

use std::collections::BTreeMap;

use serde_json::json;

use crate::output;

/// Where what is read of logs goes.
pub(super) trait Show {
    /// Takes the next bytes of the log `name`.
    fn show(&mut self, name: &'static str, bytes: &[u8]);

    /// There are no more.
    fn end(&mut self) {}
}

/// Prints logs as they are; several of them each under its name, whenever it is another's turn.
pub(super) struct Printer {
    are_named: bool,
    last: Option<&'static str>,
}

impl Printer {
    pub(super) fn new(are_named: bool) -> Self {
        Self { are_named, last: None }
    }
}

impl Show for Printer {
    fn show(&mut self, name: &'static str, bytes: &[u8]) {
        if self.are_named && self.last != Some(name) {
            output::print(&format!("==> {name} <=="));
            self.last = Some(name);
        }
        output::write(bytes);
    }
}

/// Prints a JSON object for each line: `{"log":…,"line":…}`. A line that is longer than [`Lines::MAX`] becomes several.
#[derive(Default)]
pub(super) struct Lines {
    begun: BTreeMap<&'static str, Vec<u8>>,
}

impl Lines {
    /// Bytes that are kept of a line that has not ended.
    const MAX: usize = 64 << 10;
}

impl Show for Lines {
    fn show(&mut self, name: &'static str, bytes: &[u8]) {
        let begun = self.begun.entry(name).or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || begun.len() >= Self::MAX {
                print_line(name, &std::mem::take(begun));
            }
        }
    }

    fn end(&mut self) {
        for (name, line) in std::mem::take(&mut self.begun) {
            if !line.is_empty() {
                print_line(name, &line);
            }
        }
    }
}

fn print_line(name: &str, line: &[u8]) {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
    output::print(&json!({ "log": name, "line": line }).to_string());
}
