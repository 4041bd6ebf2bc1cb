//! What is missing of a snapshot, for people: by what it is for, since a disk may consist of hundreds of blobs.

use std::fmt;

use format::PlannedBlob;
use serde::Serialize;

/// Lines that are shown at most.
const LINES: usize = 20;

/// Blobs that neither the pack nor the store has, in a pack's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Missing(pub Vec<PlannedBlob>);

impl Missing {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Blobs that are for the same.
struct Group<'a> {
    role: &'a str,
    blobs: Vec<&'a PlannedBlob>,
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        match self.blobs.as_slice() {
            [only] => write!(out, "{}: {} ({bytes} bytes)", self.role, only.digest),
            blobs => {
                let first = blobs.first().map(|blob| blob.digest.to_string()).unwrap_or_default();
                write!(out, "{}: {} blobs, {first} and so on ({bytes} bytes)", self.role, blobs.len())
            }
        }
    }
}

/// One line for all that is of the same disk and for the same.
impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for blob in &self.0 {
            let has_room = groups.len() <= LINES;
            match groups.iter_mut().find(|group| group.role == blob.role) {
                Some(group) => group.blobs.push(blob),
                None if has_room => groups.push(Group { role: &blob.role, blobs: vec![blob] }),
                // Whoever forges titles has as many lines as blobs.
                None => {}
            }
        }
        let shown: usize = groups.iter().take(LINES).map(|group| group.blobs.len()).sum();
        for group in groups.iter().take(LINES) {
            write!(out, "\n  {group}")?;
        }
        match self.0.len() - shown {
            0 => Ok(()),
            more => write!(out, "\n  and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use format::Digest;

    use super::*;

    fn blob(role: &str, size: u64) -> PlannedBlob {
        PlannedBlob { role: role.to_owned(), digest: Digest::of(role.as_bytes()), size }
    }

    #[test]
    fn blobs_of_one_disk_take_one_line() {
        let frames = blob("frames of memory", 10);
        let missing = Missing(vec![blob("config", 7), frames.clone(), frames.clone(), frames.clone()]);
        let (config, frames) = (Digest::of(b"config"), frames.digest);
        let expected = format!(
            "\n  config: {config} (7 bytes)\n  frames of memory: 3 blobs, {frames} and so on (30 bytes)"
        );
        assert_eq!(missing.to_string(), expected);
        let many = Missing((0..1000).map(|n| blob(&format!("part titled {n}"), 1)).collect());
        assert_eq!(many.to_string().lines().count(), LINES + 2);
        assert!(many.to_string().ends_with("and 980 more"));
    }
}
