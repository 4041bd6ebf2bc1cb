//! When a file was changed, as pax records say it: decimal seconds with a fraction.

/// When a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since 1970 in UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds on top, less than 10^9.
    pub nanoseconds: u32,
}

const SECOND: u32 = 1_000_000_000;
const DIGITS: usize = 9;

impl Time {
    /// As a record has it: `-1.5` is half a second before -1.
    #[must_use]
    pub fn to_text(self) -> String {
        let Time { seconds, nanoseconds } = self;
        match (seconds, nanoseconds) {
            (_, 0) => seconds.to_string(),
            (0.., _) => format!("{seconds}.{nanoseconds:09}"),
            (-1, _) => format!("-0.{:09}", SECOND - nanoseconds),
            (..-1, _) => format!("{}.{:09}", seconds + 1, SECOND - nanoseconds),
        }
    }

    /// Reads what a record has. Digits behind the ninth are cut off.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        if digits.is_empty() || !digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(DIGITS).collect();
        let nanoseconds: u32 = fraction.parse().ok()?;
        if whole.starts_with('-') && nanoseconds > 0 {
            // Time runs forward from the second below.
            return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: SECOND - nanoseconds });
        }
        Some(Time { seconds, nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_were_written() {
        for (seconds, nanoseconds, text) in [
            (5, 0, "5"),
            (5, 1_000, "5.000001000"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 1, "-1.999999999"),
            (-2, 0, "-2"),
        ] {
            let time = Time { seconds, nanoseconds };
            assert_eq!(time.to_text(), text);
            assert_eq!(Time::parse(text.as_bytes()), Some(time));
        }
        assert_eq!(Time::parse(b"1.5"), Some(Time { seconds: 1, nanoseconds: 500_000_000 }));
        assert_eq!(Time::parse(b"1.1234567891"), Some(Time { seconds: 1, nanoseconds: 123_456_789 }));
        for wrong in
            ["", ".", "-", "+1", "1.x", "1.-5", "9999999999999999999999", "x", "-9223372036854775808.5"]
        {
            assert_eq!(Time::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
