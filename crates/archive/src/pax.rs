//! The extended headers of POSIX.1-2001 (pax): records of `LENGTH KEY=VALUE\n`.
//!
//! Values may hold any byte, newlines too: only the length says where a record ends.

/// When a file was changed: seconds since 1970, which may be negative, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Time {
    const DIGITS: usize = 9;

    /// As the records have it: `-1.5` is half a second before -1.
    pub(crate) fn to_text(self) -> String {
        const SECOND: u32 = 1_000_000_000;
        let Time { seconds, nanoseconds } = self;
        match (seconds, nanoseconds) {
            (_, 0) => seconds.to_string(),
            (0.., _) => format!("{seconds}.{nanoseconds:09}"),
            (-1, _) => format!("-0.{:09}", SECOND - nanoseconds),
            (..-1, _) => format!("{}.{:09}", seconds + 1, SECOND - nanoseconds),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds: i64 = whole.parse().ok()?;
        if !is_digits(fraction) {
            return None;
        }
        let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(Self::DIGITS).collect();
        let nanoseconds: u32 = digits.parse().ok()?;
        if whole.starts_with('-') && nanoseconds > 0 {
            return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
        }
        Some(Time { seconds, nanoseconds })
    }
}

/// Appends a record.
pub(crate) fn push(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {key}=").into_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The records' keys and values; `None` in place of the first that is none, and nothing after it.
pub(crate) fn parse(records: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = Some(records).filter(|records| !records.is_empty());
    std::iter::from_fn(move || {
        let records = rest.take()?;
        let Some((record, after)) = split_first(records) else { return Some(None) };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(Some(record))
    })
}

fn split_first(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let (record, after) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((record.get(..equals)?, record.get(equals + 1..)?), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut records = Vec::new();
        let long = vec![b'x'; 989];
        let pairs: [(&str, &[u8]); 4] =
            [("path", b"a\nb=c"), ("k", b""), ("linkpath", &long), ("n", b"1234")];
        for (key, value) in pairs {
            push(&mut records, key, value);
        }
        assert!(records.starts_with(b"14 path=a\nb=c\n5 k=\n"), "{records:?}");
        let found: Vec<_> = parse(&records).map(Option::unwrap).collect();
        assert_eq!(found, pairs.map(|(key, value)| (key.as_bytes(), value)));
        for wrong in ["5 a=bc\n", "99 a=b\n", "a=b\n", "0 \n", "6 ab\n\n", "-1 a=b\n"] {
            assert_eq!(parse(wrong.as_bytes()).last(), Some(None), "{wrong:?}");
        }
    }

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
            assert_eq!(Time::parse(text), Some(time));
        }
        assert_eq!(Time::parse("1.5"), Some(Time { seconds: 1, nanoseconds: 500_000_000 }));
        assert_eq!(Time::parse("1.1234567891"), Some(Time { seconds: 1, nanoseconds: 123_456_789 }));
        for wrong in ["", ".", "1.x", "1.-5", "9999999999999999999999", "x"] {
            assert_eq!(Time::parse(wrong), None, "{wrong:?}");
        }
    }
}
