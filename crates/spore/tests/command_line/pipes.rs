//! Whoever reads the output may go away: no error is said, and nothing panics. A full disk is said.

use std::fs::File;

use crate::user;

/// Command lines with some output.
const LINES: &[&str] = &[
    "completions bash",
    "config",
    "du",
    "doctor --format json",
    "images",
    "inspect --manifest sample",
    "inspect sample",
    "inspect sample --format json",
    "version",
];

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let spore = user();
    for line in LINES.iter().chain(&["--help", "fork --help", "--version"]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut run = spore.command(line.split(' '));
        run.command().stdout(writer);
        let outcome = run.finish();
        assert!(outcome.status.code().is_some_and(|code| code <= 1), "{outcome}");
        assert_eq!(outcome.error(), "", "{line}");
    }
}

#[test]
fn a_full_disk_is_said() {
    let spore = user();
    for line in LINES {
        let mut run = spore.command(line.split(' '));
        run.command().stdout(File::options().write(true).open("/dev/full").unwrap());
        run.finish().exits_with(1).says(&["standard output", "No space left"]);
    }
}
