//! Variables, as all of Spore takes them: one that is set and empty counts as not set.

use std::ffi::OsString;

/// What a variable says.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
