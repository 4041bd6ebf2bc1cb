//! Variables, as all of Spore takes them: one that is set and empty counts as not set.

use std::ffi::OsString;

/// What a variable says.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
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
