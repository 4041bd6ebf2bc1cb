//! Results on standard output, errors on standard error: tables for people, one JSON document for scripts.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use hub::{Delivered, PlannedBlob, TransferPlan};
use pack::Missing;
use serde::Serialize;

use crate::options::Format;

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
                print(&plain(text.trim_end_matches('\n')));
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

/// What reads our output may go away (`spore ps | head`): that ends us, as it ends every tool of its kind.
fn or_end(written: &io::Result<()>) {
    if written.is_err() {
        std::process::exit(1);
    }
}

/// Prints an error.
pub(crate) fn error(message: &str, kind: &str, format: Format) {
    error_about(message, kind, None, format);
}

/// Prints an error. `parts` are for scripts: what it is about, one by one.
pub(crate) fn error_about(message: &str, kind: &str, parts: Option<&Missing>, format: Format) {
    if format == Format::Text {
        return say(&format!("spore: {message}"));
    }
    let mut error = serde_json::json!({ "kind": kind, "message": message });
    if let (Some(parts), Some(fields)) = (parts, error.as_object_mut()) {
        fields.insert("parts".to_owned(), serde_json::json!(parts));
    }
    write_line(&serde_json::json!({ "error": error }).to_string());
}

/// Says what is not as it should be and did not stop anything.
pub(crate) fn warning(message: &str) {
    say(&format!("spore: warning: {message}"));
}

/// A line on standard error for people, without what a terminal would obey.
pub(crate) fn say(line: &str) {
    write_line(&plain(line));
}

/// A line on standard error, where nobody may be there to read it.
fn write_line(line: &str) {
    writeln!(io::stderr(), "{line}").ok();
}

/// Shortens cells until a [`table`] of them has at most `columns`, as far as that leaves something to read: those of the column
/// `name` at their beginning, where names have their hubs, then those of the last column at their end.
pub(crate) fn fit(header: &[&str], rows: &mut [Vec<String>], columns: usize, name: usize) {
    const LEAST: usize = 16;
    for (column, keeps_end) in [(name, true), (header.len().saturating_sub(1), false)] {
        let width = table(header, rows).lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let Some(excess) = width.checked_sub(columns).filter(|excess| *excess > 0) else { return };
        let cells = rows.iter_mut().filter_map(|row| row.get_mut(column));
        let widest = table_width(cells.map(|cell| &*cell));
        let most = widest.saturating_sub(excess).max(LEAST);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            shorten(cell, most, keeps_end);
        }
    }
}

fn table_width<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

/// Leaves `most` characters of a text, one of which says that there was more.
fn shorten(text: &mut String, most: usize, keeps_end: bool) {
    let length = text.chars().count();
    if length <= most {
        return;
    }
    let kept = most.saturating_sub(1);
    *text = if keeps_end {
        std::iter::once('…').chain(text.chars().skip(length - kept)).collect()
    } else {
        text.chars().take(kept).chain(std::iter::once('…')).collect()
    };
}

/// Columns as wide as their widest cell, two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|cell| width(cell)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
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
    fn tables_line_up() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID   NAME\na    long cell\nbbb\n");
    }

    #[test]
    fn tables_are_shortened_where_that_is_possible() {
        let name = "registry.example.com/team/python-numpy:1.2";
        let reason = "dead: the guest has ended: its kernel has panicked, for some reason or other";
        let rows = || vec![vec!["id".to_owned(), name.to_owned(), reason.to_owned()]];
        let fitted = |columns| {
            let mut rows = rows();
            fit(&["ID", "SNAPSHOT", "STATUS"], &mut rows, columns, 1);
            rows.remove(0)
        };
        assert_eq!(fitted(200), rows()[0]);
        assert_eq!(fitted(110)[1..], ["…e.com/team/python-numpy:1.2", reason][..]);
        let narrow = fitted(60);
        assert_eq!(narrow[1], "…ython-numpy:1.2");
        assert!(narrow[2].starts_with("dead: the guest") && narrow[2].ends_with('…'), "{narrow:?}");
        assert_eq!(
            table(&["ID", "SNAPSHOT", "STATUS"], &[narrow]).lines().last().map(|l| l.chars().count()),
            Some(60)
        );
        assert_eq!(fitted(1)[2].chars().count(), 16);
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3725, "1h2m"), (90_061, "1d1h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
