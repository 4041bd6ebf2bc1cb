//! The numbers in headers' fields: octal digits, or base 256 as GNU tar and star write what has too many of them.

/// The field's number. A blank field is 0, as GNU tar takes it; `None` if it holds something else, or more than 64 bits.
///
/// Base 256 is marked by the highest bit of the first byte; behind it the field is a big-endian number in two's complement.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            // The bit below the mark is the sign.
            let sign: i128 = if first & 0x40 != 0 { -1 } else { 0 };
            let first = i128::from(first & 0x7f) | (sign << 7);
            let rest = field.get(1..)?;
            let number = rest.iter().try_fold(first, |number, byte| {
                number.checked_mul(256).map(|number| number | i128::from(*byte))
            })?;
            i64::try_from(number).ok()
        }
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (digits, rest) = field.split_at_checked(end)?;
    let digits = digits.trim_ascii();
    if digits.is_empty() && rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (&[0; 8], Some(0)),
            (b"        ", Some(0)),
            (b"\0junk\0\0\0", None),
            (b"-644\0\0\0\0", None),
            (b"+644\0\0\0\0", None),
            (b"0x1\0\0\0\0\0", None),
            (b"8\0\0\0\0\0\0\0", None),
            (b"6 4\0\0\0\0\0", None),
            (b"\x80\0\0\0\x7f\xff\xff\xff", Some(0x7fff_ffff)),
            (&[0xff; 12], Some(-1)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], Some(-2)),
            (&[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Some(i64::MIN)),
            // More than 64 bits, of which the lowest alone would be a small number.
            (&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5], None),
            (&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
