//! Results on standard output, errors on standard error: tables for people, one JSON document for scripts.
//!
//! Invariants:
//! - What a terminal shows fits it: text is wrapped at its width, between words. What goes elsewhere is never wrapped, so
//!   that a row of a table is a line.
//! - With `--log-format json`, all of standard error is JSON, an object a line, in the form that
//!   `tracing-subscriber` gives events. What a guest's program writes there is not ours, and is passed on as it is.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use hub::{Delivered, PlannedBlob, TransferPlan};
use pack::Missing;
use serde::Serialize;

mod format;
mod table;

pub(crate) use format::{Format, LogFormat};
pub(crate) use table::table;

/// Prints a result: `text` is called for people, `value` is what scripts get.
pub(crate) fn result(format: Format, value: &impl Serialize, text: impl FnOnce() -> String) {
    match format {
        Format::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => print(&json),
            Err(problem) => error(&problem.to_string(), "failed", format),
        },
        Format::Text => {
            let text = text();
            if !text.is_empty() {
                print(&wrapped(&plain(text.trim_end_matches('\n')), columns()));
            }
        }
    }
}

/// `text` without what a terminal would obey: names and messages may come from a foreign snapshot, hub or guest.
fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// How many columns the terminal has that standard output is; `None` if it is none, or does not say.
fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    // Narrower ones are left to break lines themselves: one word a line helps nobody.
    (size.ws_col >= 20).then_some(size.ws_col.into())
}

/// `text` in lines of at most `columns`, unless a word alone is longer. Lines go on behind their own indentation.
fn wrapped(text: &str, columns: Option<usize>) -> Cow<'_, str> {
    let Some(columns) = columns else { return Cow::Borrowed(text) };
    let wrap = |line: &str| {
        let words = line.trim_start_matches(' ');
        let indent = " ".repeat(line.len() - words.len());
        let further = format!("{indent}  ");
        let options = textwrap::Options::new(columns)
            .initial_indent(&indent)
            .subsequent_indent(&further)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::fill(words, options)
    };
    Cow::Owned(text.split('\n').map(wrap).collect::<Vec<_>>().join("\n"))
}

/// Prints a line.
pub(crate) fn print(text: &str) {
    or_end(&writeln!(io::stdout(), "{text}"));
}

/// Prints bytes as they are.
///
/// # Errors
/// If they cannot be read.
pub(crate) fn copy(from: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => write(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Prints bytes as they are, at once.
pub(crate) fn write(bytes: &[u8]) {
    let mut stdout = io::stdout();
    or_end(&stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// What reads our output may go away (`spore ps | head`): that ends us without a word, as it ends every tool of its kind.
/// That there is no room for the rest of it is said.
fn or_end(written: &io::Result<()>) {
    if let Err(problem) = written {
        if problem.kind() != io::ErrorKind::BrokenPipe {
            say(Level::Error, &format!("cannot write to standard output: {problem}"));
        }
        std::process::exit(1);
    }
}

/// Whether standard error is JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Decides what standard error has.
pub(crate) fn log_as(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether standard error is JSON: then it has no progress either.
pub(crate) fn logs_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// How much something matters, in the words of `tracing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// Prints an error.
pub(crate) fn error(message: &str, kind: &str, format: Format) {
    error_about(message, kind, None, format);
}

/// Prints an error. `parts` are for scripts: what it is about, one by one.
pub(crate) fn error_about(message: &str, kind: &str, parts: Option<&Missing>, format: Format) {
    let line = match format {
        _ if logs_json() => log_line(Level::Error, message, Some(kind)),
        Format::Json => {
            let mut error = serde_json::json!({ "kind": kind, "message": message });
            if let (Some(parts), Some(fields)) = (parts, error.as_object_mut()) {
                fields.insert("parts".to_owned(), serde_json::json!(parts));
            }
            serde_json::json!({ "error": error }).to_string()
        }
        Format::Text => format!("spore: {}", plain(message)),
    };
    print_error(&line);
}

/// Says what is not as it should be and did not stop anything.
pub(crate) fn warning(message: &str) {
    say(Level::Warn, message);
}

/// A line on standard error, where nobody may be there to read it.
pub(crate) fn say(level: Level, message: &str) {
    let line = match level {
        _ if logs_json() => log_line(level, message, None),
        Level::Info => plain(message).into_owned(),
        Level::Warn => format!("spore: warning: {}", plain(message)),
        Level::Error => format!("spore: {}", plain(message)),
    };
    print_error(&line);
}

fn print_error(line: &str) {
    writeln!(io::stderr(), "{line}").ok();
}

/// An event as `tracing-subscriber` writes it, for what is said whatever is logged.
fn log_line(level: Level, message: &str, kind: Option<&str>) -> String {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let mut fields = serde_json::json!({ "message": message });
    if let (Some(kind), Some(fields)) = (kind, fields.as_object_mut()) {
        fields.insert("kind".into(), kind.into());
    }
    let timestamp = jiff::Timestamp::now();
    let line = serde_json::json!({
        "timestamp": format!("{timestamp:.6}"),
        "level": level,
        "fields": fields,
        "target": "spore",
    });
    line.to_string()
}

/// A plan of a push or a pull in a line: `sha256:… {way} /srv/hub: 3 of 9 blobs {act}, 12.00 MiB`.
pub(crate) fn transfer_head(plan: &TransferPlan, way: &str, act: &str) -> String {
    let TransferPlan { hub, snapshot, missing, mountable, .. } = plan;
    let (count, all, bytes) = (missing.len(), plan.blobs().count(), size(plan.missing_bytes()));
    let head = format!("{snapshot} {way} {hub}: {count} of {all} blobs {act}, {bytes}");
    match mountable.len() {
        0 => head,
        count => format!("{head}; {count} may be mounted, {}", size(plan.mountable_bytes())),
    }
}

/// What came of it: `sent 12.00 MiB, 3.00 MiB were there`.
pub(crate) fn delivered(delivered: &Delivered) -> String {
    let Delivered { sent_bytes, mounted_bytes, skipped_bytes } = *delivered;
    let mounted =
        if mounted_bytes == 0 { String::new() } else { format!("{} mounted, ", size(mounted_bytes)) };
    format!("sent {}, {mounted}{} were there", size(sent_bytes), size(skipped_bytes))
}

/// The plan in whole: below its head what it would transfer, a blob a line.
pub(crate) fn transfer(head: &str, plan: &TransferPlan) -> String {
    let row = |blob: &PlannedBlob| vec![size(blob.size), blob.digest.to_string(), blob.role.clone()];
    let mounted = |blob: &PlannedBlob| {
        vec![size(blob.size), blob.digest.to_string(), format!("{}, mounted", blob.role)]
    };
    let rows: Vec<_> = plan.missing.iter().map(row).chain(plan.mountable.iter().map(mounted)).collect();
    if rows.is_empty() {
        return head.to_owned();
    }
    format!("{head}\n{}", table(&["SIZE", "DIGEST", "PART"], &rows))
}

/// Bytes for people, in binary units.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A span of time for people: its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, name) in units.iter().skip(first).take(2) {
        if rest >= *unit || text.is_empty() {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(plain("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(plain("a\u{1b}]0;t\u{7}\r\u{9b}2J"), "a\\u{1b}]0;t\\u{7}\\r\\u{9b}2J");
    }

    #[test]
    fn lines_are_wrapped_where_somebody_reads_them() {
        let text = "one two three\n  four five six\n  /a/long/path/of/a/file x";
        assert_eq!(wrapped(text, None), text);
        assert_eq!(
            wrapped(text, Some(11)),
            "one two\n  three\n  four five\n    six\n  /a/long/path/of/a/file\n    x"
        );
    }

    #[test]
    fn our_lines_are_those_of_tracing() {
        let line: serde_json::Value =
            serde_json::from_str(&log_line(Level::Error, "a \u{1b}[1m\nb", Some("usage"))).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["fields"], serde_json::json!({ "message": "a \u{1b}[1m\nb", "kind": "usage" }));
        let timestamp = line["timestamp"].as_str().unwrap();
        assert_eq!((timestamp.len(), timestamp.ends_with('Z')), (27, true), "{timestamp}");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3725, "1h2m"), (90_061, "1d1h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
