//! What the headers before an entry say of it: GNU's long names, and pax records.
//!
//! Records that say nothing of what is read here (times of access, names of owners, comments) are passed over.

use std::collections::{BTreeMap, BTreeSet};

use crate::{MAX_NAME, Time, pax};

/// Most headers that may describe one entry.
pub const MAX_EXTENSIONS: u32 = 16;
/// Most bytes of these headers' content together.
pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;

const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
const ACL: &[u8] = b"SCHILY.acl.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// What is said of the next entry, instead of what its header says. The errors of all functions are what is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) time: Option<Time>,
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys of access lists.
    pub(crate) acls: BTreeSet<Vec<u8>>,
    pub(crate) sparse: Option<SparseRecords>,
}

/// What is said of a file with holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    /// Bytes of the file, holes included.
    pub(crate) size: Option<u64>,
}

impl Extensions {
    pub(crate) fn set_long_name(&mut self, content: Vec<u8>) -> Result<(), &'static str> {
        self.path = Some(until_nul(content)?);
        Ok(())
    }

    pub(crate) fn set_long_link(&mut self, content: Vec<u8>) -> Result<(), &'static str> {
        self.link = Some(until_nul(content)?);
        Ok(())
    }

    /// Reads records. Of two with the same key the last one counts; an empty value takes back what was said before.
    pub(crate) fn read(&mut self, records: &[u8]) -> Result<(), &'static str> {
        for record in pax::parse(records) {
            let (key, value) = record.ok_or("a pax record is not LENGTH KEY=VALUE")?;
            self.set(key, value)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = unless_empty(value, name)?,
            b"linkpath" => self.link = unless_empty(value, name)?,
            b"size" => self.size = unless_empty(value, number)?,
            b"uid" => self.uid = unless_empty(value, number)?,
            b"gid" => self.gid = unless_empty(value, number)?,
            b"mtime" => self.time = unless_empty(value, time)?,
            // star's form for files with holes, whose content is not the file's.
            b"SCHILY.realsize" => {
                return Err("a file with holes is stored in a form of star, which is not read");
            }
            key => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    // Attributes may be empty.
                    self.attributes.insert(name.to_vec(), value.to_vec());
                } else if key.starts_with(ACL) && value.is_empty() {
                    self.acls.remove(key);
                } else if key.starts_with(ACL) {
                    self.acls.insert(key.to_vec());
                } else if let Some(key) = key.strip_prefix(SPARSE) {
                    self.sparse.get_or_insert_default().set(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl SparseRecords {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"major" => self.major = unless_empty(value, number)?,
            b"minor" => self.minor = unless_empty(value, number)?,
            b"name" => self.name = unless_empty(value, name)?,
            b"realsize" => self.size = unless_empty(value, number)?,
            // Of the forms 0.0 and 0.1, which have no version.
            _ => {}
        }
        Ok(())
    }
}

fn unless_empty<T>(
    value: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, &'static str>,
) -> Result<Option<T>, &'static str> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.len() > MAX_NAME {
        return Err("a name is longer than 4096 bytes");
    }
    if value.contains(&0) {
        return Err("a name has a zero byte");
    }
    Ok(value.to_vec())
}

fn number(value: &[u8]) -> Result<u64, &'static str> {
    pax::number(value).ok_or("a number in a pax record is none")
}

fn time(value: &[u8]) -> Result<Time, &'static str> {
    Time::parse(value).ok_or("a time in a pax record is none")
}

/// GNU tar ends long names by a zero byte.
fn until_nul(mut content: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let length = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    content.truncate(length);
    name(&content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[(&str, &[u8])]) -> Result<Extensions, &'static str> {
        let mut text = Vec::new();
        records.iter().for_each(|(key, value)| pax::push(&mut text, key, value));
        let mut said = Extensions::default();
        said.read(&text).map(|()| said)
    }

    #[test]
    fn values_may_hold_newlines() {
        let capability = b"\x01\0\0\x02\0\n\0\n\0\0\0\0\n=\0\0\0\0\0\0";
        let said = read(&[("path", b"a/b\nc"), ("SCHILY.xattr.security.capability", capability)]).unwrap();
        assert_eq!(said.path.as_deref(), Some(&b"a/b\nc"[..]));
        assert_eq!(said.attributes[&b"security.capability"[..]], capability);
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        let said = [
            ("path", &b"a"[..]),
            ("linkpath", b"b"),
            ("size", b"1"),
            ("uid", b"2"),
            ("gid", b"3"),
            ("mtime", b"4"),
            ("SCHILY.acl.access", b"user::rw-"),
        ];
        let taken_back = said.map(|(key, _)| (key, &b""[..]));
        assert_eq!(read(&[&said[..], &taken_back].concat()).unwrap(), Extensions::default());
        assert_eq!(read(&said).unwrap().acls.len(), 1);
        // But an attribute may be empty.
        assert_eq!(read(&[("SCHILY.xattr.user.a", b"")]).unwrap().attributes[&b"user.a"[..]], b"");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let long = [b'x'; MAX_NAME + 1];
        for (key, value) in [
            ("size", &b"-1"[..]),
            ("uid", b"x"),
            ("gid", b"99999999999999999999"),
            ("mtime", b"yesterday"),
            ("path", b"a\0b"),
            ("path", &long),
            ("linkpath", &long),
            ("SCHILY.realsize", b"1"),
            ("GNU.sparse.major", b"one"),
            ("GNU.sparse.name", &long),
        ] {
            assert!(read(&[(key, value)]).is_err(), "{key}");
        }
        assert!(Extensions::default().set_long_name(long.to_vec()).is_err());
        let mut said = Extensions::default();
        said.set_long_link(b"a\0b".to_vec()).unwrap();
        assert_eq!(said.link.as_deref(), Some(&b"a"[..]));
    }
}
