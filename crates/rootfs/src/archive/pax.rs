//! The records that describe an entry beyond what its header has room for.
//!
//! Source: POSIX.1-2024, pax, "pax Extended Header": `LENGTH KEY=VALUE\n`, where LENGTH counts all of that. `SCHILY.xattr.NAME`
//! holds an extended attribute, as GNU tar, star and Go's archive/tar write it.

use std::collections::BTreeMap;

use super::Time;

const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What Linux takes for one file, in bytes: of an attribute's name and value, and of all names and values together.
const MAX_ATTRIBUTE_NAME: usize = 255;
const MAX_ATTRIBUTE_VALUE: usize = 65_535;
const MAX_ATTRIBUTES: usize = 64 << 10;

/// What records say of the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) time: Option<Time>,
    /// Whether the content is not the file's bytes but a map and pieces of them.
    pub(super) is_sparse: bool,
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn set_path(&mut self, path: Vec<u8>) {
        self.path = Some(path);
    }

    pub(super) fn set_link(&mut self, link: Vec<u8>) {
        self.link = Some(link);
    }

    /// Reads records. Of two with the same key the last one counts.
    pub(super) fn read(&mut self, mut text: &[u8]) -> Result<(), &'static str> {
        while !text.is_empty() {
            let (record, rest) = split_record(text).ok_or("a pax record is not LENGTH KEY=VALUE")?;
            self.set(record)?;
            text = rest;
        }
        Ok(())
    }

    fn set(&mut self, record: &[u8]) -> Result<(), &'static str> {
        let at = record.iter().position(|byte| *byte == b'=').ok_or("a pax record has no `=`")?;
        let (key, value) = (record.get(..at).unwrap_or_default(), record.get(at + 1..).unwrap_or_default());
        let number = || parse::<u64>(value).ok_or("a pax record is no number");
        match key {
            // An empty value takes a record back.
            _ if value.is_empty() && !key.starts_with(ATTRIBUTE) => {}
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.time = Some(time(value).ok_or("a pax time is no number")?),
            key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            key => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE).filter(|name| is_kept(name)) {
                    self.set_attribute(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn set_attribute(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if name.len() > MAX_ATTRIBUTE_NAME || name.contains(&0) || value.len() > MAX_ATTRIBUTE_VALUE {
            return Err("an extended attribute is longer than Linux takes");
        }
        self.attributes.insert(name.to_vec(), value.to_vec());
        let total: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        if total > MAX_ATTRIBUTES {
            Err("a file has more than 64 KiB of extended attributes")
        } else {
            Ok(())
        }
    }
}

/// Attributes that mean something to a Linux guest. Those of overlayfs would decide how layers are stacked, which is
/// for whiteouts in the archive to say.
fn is_kept(name: &[u8]) -> bool {
    let within = |prefix: &[u8]| name.len() > prefix.len() && name.starts_with(prefix);
    let known = within(b"user.")
        || within(b"trusted.")
        || within(b"security.")
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    known && !name.starts_with(b"user.overlay.") && !name.starts_with(b"trusted.overlay.")
}

/// The first record, without its length and its newline, and what follows.
fn split_record(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = parse(text.get(..space)?)?;
    let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, text.get(length..)?))
}

/// Seconds with a fraction, as `-1.5`.
fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(match nanoseconds {
        // Time runs forward from the second below.
        1.. if text.starts_with('-') => {
            Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds }
        }
        _ => Time { seconds, nanoseconds },
    })
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + " =\n".len();
        let mut length = body;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_may_hold_newlines() {
        let mut records = Records::default();
        let capability = b"\x01\0\0\x02\0\n\0\n\0\0\0\0\n=\0\0\0\0\0\0";
        let text = [record("path", b"a/b"), record("SCHILY.xattr.security.capability", capability)].concat();
        records.read(&text).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(records.attributes[&b"security.capability"[..]], capability);
    }

    #[test]
    fn attributes_of_overlays_are_not_for_archives_to_set() {
        let mut records = Records::default();
        for name in
            ["user.overlay.opaque", "trusted.overlay.redirect", "com.apple.provenance", "user.", "user.a"]
        {
            records.read(&record(&format!("SCHILY.xattr.{name}"), b"y")).unwrap();
        }
        assert_eq!(records.attributes.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"user.a"]);
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, seconds, nanoseconds) in
            [("12", 12, 0), ("12.5", 12, 500_000_000), ("-1.25", -2, 750_000_000), ("1.0000000019", 1, 1)]
        {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for wrong in ["", ".", "1.x", "1.-5", "x", "99999999999999999999"] {
            assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for wrong in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"3 \n",
            b"-6 a=b\n",
            b"99999999999999999999 a=b\n",
            b"1 ",
        ] {
            assert!(Records::default().read(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["size", "uid", "mtime"] {
            assert!(Records::default().read(&record(wrong, b"-x")).is_err());
        }
        let long = record("SCHILY.xattr.user.a", &[0; 65_536]);
        assert!(Records::default().read(&long).is_err());
    }
}
