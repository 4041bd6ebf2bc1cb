//! Tables for people.

use std::borrow::Cow;

use comfy_table::{Cell, ContentArrangement, Table, presets};
use format::Digest;

/// Columns as wide as their widest cell, two spaces apart. A table that is wider than the terminal has its digests cut
/// short first; then cells go on below.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    arranged(header, rows, super::columns())
}

fn arranged(header: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let whole = lines(header, rows, |cell| Cow::Borrowed(cell), None);
    let is_wide = |columns: usize| whole.lines().any(|line| textwrap::core::display_width(line) > columns);
    match columns.filter(|columns| is_wide(*columns)) {
        Some(columns) => lines(header, rows, short, Some(columns)),
        None => whole,
    }
}

fn lines(
    header: &[&str],
    rows: &[Vec<String>],
    show: impl Fn(&str) -> Cow<'_, str>,
    columns: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        // The last column has two spaces behind it, too, which are cut off.
        table.set_width(u16::try_from(columns + 2).unwrap_or(u16::MAX));
    }
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(show(&super::plain(cell)))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// What a person knows a digest by.
fn short(cell: &str) -> Cow<'_, str> {
    cell.parse::<Digest>().map_or(Cow::Borrowed(cell), |digest| Cow::Owned(digest.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), String::new()]]
    }

    #[test]
    fn tables_line_up() {
        assert_eq!(arranged(&["ID", "NAME"], &rows(), None), "ID   NAME\na    long cell\nbbb\n");
    }

    #[test]
    fn tables_fit_the_terminal() {
        assert_eq!(arranged(&["ID", "NAME"], &rows(), Some(11)), "ID   NAME\na    long\n     cell\nbbb\n");
    }

    #[test]
    fn digests_are_cut_before_anything_else() {
        let digest = Digest::of(b"x");
        let rows = vec![vec!["1.00 MiB".to_owned(), digest.to_string(), "the memory's frames".to_owned()]];
        let header = ["SIZE", "DIGEST", "PART"];
        let narrow = arranged(&header, &rows, Some(80));
        assert!(narrow.contains(&digest.short()) && narrow.lines().count() == 2, "{narrow}");
        for columns in [None, Some(120)] {
            assert!(arranged(&header, &rows, columns).contains(&digest.to_string()));
        }
    }
}
