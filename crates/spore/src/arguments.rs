//! Arguments that several verbs take.

use format::{FullName, HubName};

use crate::config::Config;
use crate::error::CliError;

/// Bytes, in binary units.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?} is no size: expected bytes, or 64KiB, 256MiB, 100GiB, 2TiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(expected)?;
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// A tag that is made here: `NAME[:TAG]`.
pub(crate) fn local_name(config: &Config, text: &str) -> Result<FullName, CliError> {
    let dest = config.reference(text)?;
    if dest.hub.as_ref().is_some_and(|hub| !hub.is_local()) || dest.digest.is_some() {
        return Err(CliError::Usage(format!(
            "{text}: expected NAME[:TAG]: tags that are made here are local/, and `spore push` gives them a hub"
        )));
    }
    let tag = dest.tag_or_default();
    Ok(FullName { hub: HubName::local(), name: dest.name, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("2 TiB"), Ok(2 << 40));
        for wrong in ["", "MiB", "1MB", "1.5GiB", "-1", "99999999TiB", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
