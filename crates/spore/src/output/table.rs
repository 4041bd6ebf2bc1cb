//! Tables for people.
//!
//! Columns are as wide as their widest cell, two spaces apart. What is wider than its terminal gives way in this order:
//! digests are cut to what a person knows them by; the widest columns are narrowed, down to their longest word, so that their
//! cells go on below; and if that is not enough, words are broken. Narrow columns stay as they are.

use std::borrow::Cow;

use format::Digest;
use textwrap::core::{Word, display_width};
use textwrap::{Options, WordSeparator, WordSplitter, wrap};

/// Between two columns.
const GAP: usize = 2;

/// A column of this width never gives way: a size in two lines is no size.
const NARROW: usize = 12;

/// A table with a line of `header`.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    arranged(header, rows, super::columns())
}

fn arranged(header: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let cells = |show: &dyn Fn(&str) -> String| -> Vec<Vec<String>> {
        let header = header.iter().map(|cell| (*cell).to_owned()).collect();
        let shown = rows.iter().map(|row| row.iter().map(|cell| show(&super::plain(cell))).collect());
        std::iter::once(header).chain(shown).collect()
    };
    let whole = cells(&str::to_owned);
    let natural = widths(&whole, display_width);
    match columns.filter(|columns| total(&natural) > *columns) {
        Some(columns) => {
            let cells = cells(&short);
            lines(&cells, &narrowed(&cells, columns))
        }
        None => lines(&whole, &natural),
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The largest measure of each column's cells.
fn widths(cells: &[Vec<String>], measure: impl Fn(&str) -> usize) -> Vec<usize> {
    let count = cells.iter().map(Vec::len).max().unwrap_or(0);
    let of = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| measure(cell)).max();
    (0..count).map(|column| of(column).unwrap_or(0)).collect()
}

/// Widths that fit, unless all columns are narrow.
fn narrowed(cells: &[Vec<String>], columns: usize) -> Vec<usize> {
    let mut widths_now = widths(cells, display_width);
    let longest_word = |cell: &str| words(cell).map(|word| display_width(&word)).max().unwrap_or(0);
    let longest_words = widths(cells, longest_word);
    for least in [longest_words, vec![0; widths_now.len()]] {
        while total(&widths_now) > columns {
            let wide = widths_now.iter_mut().zip(&least).filter(|(now, least)| **now > NARROW.max(**least));
            let Some((widest, _)) = wide.max_by_key(|(now, _)| **now) else { break };
            *widest -= 1;
        }
    }
    widths_now
}

fn lines(cells: &[Vec<String>], widths: &[usize]) -> String {
    let mut text = String::new();
    for row in cells {
        let wrapped: Vec<Vec<Cow<'_, str>>> =
            row.iter().zip(widths).map(|(cell, width)| wrap(cell, options((*width).max(1)))).collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            let mut line = String::new();
            for (cell, width) in wrapped.iter().zip(widths) {
                let part = cell.get(number).map_or("", AsRef::as_ref);
                line.push_str(part);
                line.push_str(&" ".repeat(width.saturating_sub(display_width(part)) + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn options(width: usize) -> Options<'static> {
    Options::new(width)
        .word_separator(WordSeparator::Custom(|line| Box::new(pieces(line).map(Word::from))))
        .word_splitter(WordSplitter::NoHyphenation)
}

/// A line in pieces between which it may be broken: behind spaces, and within paths behind a slash.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    line.split_inclusive(' ').flat_map(|word| word.split_inclusive('/'))
}

fn words(cell: &str) -> impl Iterator<Item = String> {
    pieces(cell).map(|piece| piece.trim_end().to_owned())
}

/// `text` with every digest cut to what a person knows it by.
fn short(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    const HEX: usize = 64;
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, from) = rest.split_at(at);
        let digest = from.get(..PREFIX.len() + HEX).and_then(|digest| digest.parse::<Digest>().ok());
        shown.push_str(before);
        let taken = match digest {
            Some(digest) => {
                shown.push_str(&digest.short());
                PREFIX.len() + HEX
            }
            None => {
                shown.push_str(PREFIX);
                PREFIX.len()
            }
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn tables_line_up() {
        let rows = rows(&[&["a", "long cell"], &["bbb", ""]]);
        for columns in [None, Some(14)] {
            assert_eq!(arranged(&["ID", "NAME"], &rows, columns), "ID   NAME\na    long cell\nbbb\n");
        }
    }

    #[test]
    fn the_widest_column_gives_way_between_words() {
        let rows = rows(&[&["28.96 MiB", "1.5 at /usr/bin/some-program"], &["0 B", "not there"]]);
        assert_eq!(
            arranged(&["SIZE", "FOUND"], &rows, Some(30)),
            "SIZE       FOUND\n28.96 MiB  1.5 at /usr/bin/\n           some-program\n0 B        not there\n"
        );
    }

    #[test]
    fn words_are_broken_only_where_nothing_else_helps() {
        let rows = rows(&[&["a/averyveryverylongname", "12 MiB"]]);
        assert_eq!(
            arranged(&["NAME", "SIZE"], &rows, Some(22)),
            "NAME            SIZE\na/              12 MiB\naveryveryveryl\nongname\n"
        );
        // Narrow columns stay, whatever the terminal.
        let narrow = arranged(&["A", "B", "C"], &self::rows(&[&["123456789012"; 3]]), Some(20));
        assert_eq!(narrow.lines().count(), 2);
    }

    #[test]
    fn digests_are_cut_before_anything_else() {
        let digest = Digest::of(b"x");
        let part = format!("frames of a layer (content {digest})");
        let rows = rows(&[&["1.00 MiB", &digest.to_string(), &part]]);
        let header = ["SIZE", "DIGEST", "PART"];
        let narrow = arranged(&header, &rows, Some(80));
        assert_eq!(narrow.matches(&digest.short()).count(), 2, "{narrow}");
        assert!(!narrow.contains("sha256:") && narrow.lines().count() == 2, "{narrow}");
        for columns in [None, Some(200)] {
            assert!(arranged(&header, &rows, columns).contains(&digest.to_string()));
        }
        assert_eq!(short("sha256:, sha256:abc and none"), "sha256:, sha256:abc and none");
    }
}
