//! Variables, as all of Spore takes them: one that is set and empty counts as not set. What the environment does not say,
//! the configuration file may: each of its settings stands for one variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::OnceLock;

/// What the configuration file says in place of variables, by their names.
static FILE: OnceLock<BTreeMap<&'static str, OsString>> = OnceLock::new();

/// Where a value comes from that no flag has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    ByVariable,
    ByFile,
}

/// Lets variables that are not set have the values of the file. Once, before any is read; what is said later has no effect.
pub(crate) fn read_file_too(values: BTreeMap<&'static str, OsString>) {
    FILE.set(values).ok();
}

/// What a variable says, or the file in its place.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    said(name).map(|(value, _)| value)
}

/// The same, and which of the two it was.
pub(crate) fn said(name: &str) -> Option<(OsString, Said)> {
    let set = std::env::var_os(name).filter(|value| !value.is_empty());
    let in_file = || FILE.get().and_then(|file| file.get(name)).cloned();
    set.map(|value| (value, Said::ByVariable)).or_else(|| in_file().map(|value| (value, Said::ByFile)))
}

/// A variable for a guest: `KEY=VALUE`, or `KEY` with the value that it has here.
pub(crate) fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if !text.is_empty() => match std::env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(_) => Err(format!("there is no variable {text} here, in UTF-8")),
        },
        _ => Err("expected KEY=VALUE, or KEY with the value that it has here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(parse_variable("A="), pair("A", ""));
        // Cargo sets it.
        assert_eq!(parse_variable("CARGO_PKG_NAME"), pair("CARGO_PKG_NAME", env!("CARGO_PKG_NAME")));
        for wrong in ["", "=", "=b", "NOT_SET_HERE"] {
            assert!(parse_variable(wrong).is_err(), "{wrong}");
        }
    }
}
