//! What the values of options mean where several verbs take the same: times, ports, disks.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sandbox::{DataDisk, Forward};

/// A number and one of `s`, `m`, `h`, `d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a number and one of s, m, h, d, such as 90s or 2h");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(expected)?;
    let total = u64::from(number) * seconds;
    if total == 0 { Err(expected()) } else { Ok(Duration::from_secs(total)) }
}

/// `[ADDRESS:]PORT:GUESTPORT`; an IPv6 address in brackets.
pub(crate) fn parse_forward(text: &str) -> Result<Forward, String> {
    let expected =
        || format!("{text:?}: expected [ADDRESS:]PORT:GUESTPORT, such as 8080:80 or 0.0.0.0:8080:80");
    let (host, guest) = text.rsplit_once(':').ok_or_else(expected)?;
    let guest = guest.parse().ok().filter(|port| *port > 0).ok_or_else(expected)?;
    let host = match host.parse() {
        Ok(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Err(_) => host.parse().map_err(|_| expected())?,
    };
    Ok(Forward { host, guest })
}

/// `PATH`, or with `:rw` or `:ro` behind it.
pub(crate) fn parse_data(text: &str) -> Result<DataDisk, String> {
    let (path, writable) = match text.rsplit_once(':') {
        Some((path, "rw")) => (path, true),
        Some((path, "ro")) => (path, false),
        _ => (text, false),
    };
    if path.is_empty() {
        return Err(format!("{text:?}: expected FILE, FILE:rw or DIR"));
    }
    Ok(DataDisk { path: path.into(), writable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, host, guest) in [
            ("8080:80", "127.0.0.1:8080", 80),
            ("0:22", "127.0.0.1:0", 22),
            ("0.0.0.0:8080:80", "0.0.0.0:8080", 80),
            ("[::1]:8080:80", "[::1]:8080", 80),
        ] {
            assert_eq!(parse_forward(text), Ok(Forward { host: host.parse().unwrap(), guest }));
        }
        for wrong in ["", "80", "80:", ":80", "80:0", "80:65536", "host:80:80", "::1:80:80", "80:80/udp"] {
            assert!(parse_forward(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_disks() {
        let disk = |path: &str, writable| Ok(DataDisk { path: path.into(), writable });
        assert_eq!(parse_data("a"), disk("a", false));
        assert_eq!(parse_data("a:rw"), disk("a", true));
        assert_eq!(parse_data("a:rw:ro"), disk("a:rw", false));
        assert_eq!(parse_data("a:b"), disk("a:b", false));
        assert!(parse_data(":rw").is_err() && parse_data("").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "s", "10", "0s", "-1s", "1.5h", "1w", "99999999999s", "1é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
