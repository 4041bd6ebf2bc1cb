//! The records of pax headers: `LENGTH KEY=VALUE\n`, where LENGTH counts all of that (POSIX.1-2024, `pax`, "pax Extended
//! Header").
//!
//! Values may hold any byte, newlines too: only the length says where a record ends.

/// Most digits of a record's length that are looked at.
const DIGITS: usize = 20;

/// A key and its value.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// Appends a record.
pub fn push(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    // The length counts its own digits.
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {key}=").into_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The records' keys and values; `None` in place of the first that is none, and nothing after it.
pub fn parse(records: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = Some(records).filter(|records| !records.is_empty());
    std::iter::from_fn(move || {
        let records = rest.take()?;
        let Some((record, after)) = split_first(records) else { return Some(None) };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(Some(record))
    })
}

/// A number that is written in decimal digits alone.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn split_first(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().take(DIGITS).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(records.get(..space)?)?).ok()?;
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
    }

    #[test]
    fn what_is_no_record_ends_them() {
        for wrong in [
            "5 a=bc\n",
            "5 a=b",
            "99 a=b\n",
            "a=b\n",
            "0 \n",
            "3 \n",
            "6 ab\n\n",
            "-6 a=b\n",
            "+6 a=b\n",
            "x a=b\n",
            "99999999999999999999 a=b\n",
            "1 ",
        ] {
            assert_eq!(parse(wrong.as_bytes()).last(), Some(None), "{wrong:?}");
            let mut records = b"6 a=b\n".to_vec();
            records.extend(wrong.bytes());
            assert_eq!(parse(&records).collect::<Vec<_>>(), [Some((&b"a"[..], &b"b"[..])), None]);
        }
    }
}
