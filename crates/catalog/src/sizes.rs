//! How many bytes a snapshot takes, of what, and which other snapshots have them too.

use std::collections::HashMap;

use format::Digest;
use format::manifest::media_type;
use hub::describe::Description;

use crate::model::{Shared, Sizes};

/// Snapshots that one names as sharing with it.
const SHARED_WITH: usize = 8;

/// The blobs of a snapshot.
#[derive(Debug)]
pub(crate) struct Blobs {
    snapshot: Digest,
    /// Each once; the manifest is one of them.
    blobs: Vec<(Digest, u64)>,
    memory: u64,
    disks: u64,
}

impl Blobs {
    pub(crate) fn new(description: &Description) -> Self {
        let Description { digest, manifest_bytes, manifest, config, memory_frames } = description;
        let (mut memory, mut disks) = (0_u64, 0_u64);
        for blob in &manifest.layers {
            let part = match blob.media_type.as_str() {
                media_type::MAP if blob.digest == config.memory.map => &mut memory,
                media_type::FRAMES if memory_frames.contains(&blob.digest) => &mut memory,
                media_type::MAP | media_type::FRAMES => &mut disks,
                _ => continue,
            };
            *part = part.saturating_add(blob.size);
        }
        let blobs = manifest.blobs().map(|blob| (blob.digest, blob.size));
        Self { snapshot: *digest, blobs: blobs.chain([(*digest, *manifest_bytes)]).collect(), memory, disks }
    }

    pub(crate) fn count(&self) -> usize {
        self.blobs.len()
    }
}

/// What one snapshot takes.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) sizes: Sizes,
    pub(crate) shared_with: Vec<Shared>,
    pub(crate) shared_with_more: usize,
}

/// What each of `all`, which are different snapshots, takes, in their order; and bytes of all blobs, each once.
pub(crate) fn usage(all: &[Blobs]) -> (Vec<Usage>, u64) {
    let mut owners: HashMap<Digest, (u64, Vec<usize>)> = HashMap::new();
    for (number, Blobs { blobs, .. }) in all.iter().enumerate() {
        for (digest, size) in blobs {
            owners.entry(*digest).or_insert_with(|| (*size, Vec::new())).1.push(number);
        }
    }
    let bytes = owners.values().fold(0, |sum: u64, (size, _)| sum.saturating_add(*size));
    let usage = all.iter().enumerate().map(|(number, of)| usage_of(number, of, all, &owners));
    (usage.collect(), bytes)
}

fn usage_of(
    number: usize,
    Blobs { blobs, memory, disks, .. }: &Blobs,
    all: &[Blobs],
    owners: &HashMap<Digest, (u64, Vec<usize>)>,
) -> Usage {
    let mut sizes = Sizes { memory: *memory, disks: *disks, ..Sizes::default() };
    // Dense: all of a hub's snapshots may share all of their blobs.
    let mut common = vec![0_u64; all.len()];
    for (digest, size) in blobs {
        let others = owners.get(digest).map(|(_, owners)| owners.as_slice()).unwrap_or_default();
        let part = if others.len() > 1 { &mut sizes.shared } else { &mut sizes.own };
        *part = part.saturating_add(*size);
        for other in others.iter().filter(|other| **other != number) {
            if let Some(bytes) = common.get_mut(*other) {
                *bytes = bytes.saturating_add(*size);
            }
        }
    }
    sizes.total = sizes.own.saturating_add(sizes.shared);
    sizes.other = sizes.total.saturating_sub(sizes.memory).saturating_sub(sizes.disks);
    let with = all.iter().zip(common).filter(|(_, bytes)| *bytes > 0);
    let mut shared_with: Vec<_> =
        with.map(|(other, bytes)| Shared { digest: other.snapshot, bytes }).collect();
    shared_with.sort_by_key(|shared| (std::cmp::Reverse(shared.bytes), shared.digest));
    let shared_with_more = shared_with.len().saturating_sub(SHARED_WITH);
    shared_with.truncate(SHARED_WITH);
    Usage { sizes, shared_with, shared_with_more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn blobs(name: &str, blobs: &[(&str, u64)]) -> Blobs {
        let blobs = blobs.iter().map(|(name, size)| (digest(name), *size)).collect();
        Blobs { snapshot: digest(name), blobs, memory: 5, disks: 2 }
    }

    #[test]
    fn own_is_what_no_other_has() {
        let all = [
            blobs("a", &[("base", 100), ("a's", 10)]),
            blobs("b", &[("base", 100), ("pair", 20), ("b's", 1)]),
            blobs("c", &[("base", 100), ("pair", 20)]),
            blobs("d", &[("d's", 7)]),
        ];
        let (usage, bytes) = usage(&all);
        assert_eq!(bytes, 138);
        let sizes: Vec<_> = usage
            .iter()
            .map(|Usage { sizes, .. }| (sizes.total, sizes.own, sizes.shared, sizes.other))
            .collect();
        assert_eq!(sizes, [(110, 10, 100, 103), (121, 1, 120, 114), (120, 0, 120, 113), (7, 7, 0, 0)]);
        let with = |of: usize| -> Vec<_> {
            usage[of].shared_with.iter().map(|shared| (shared.digest, shared.bytes)).collect()
        };
        assert_eq!(with(1), [(digest("c"), 120), (digest("a"), 100)]);
        assert_eq!(with(3), []);
    }

    #[test]
    fn of_many_only_those_that_share_the_most_are_named() {
        let names: Vec<_> = (0..SHARED_WITH + 5).map(|n| format!("snapshot {n}")).collect();
        let all: Vec<_> = names.iter().map(|name| blobs(name, &[("base", 1)])).collect();
        let (usage, _) = usage(&all);
        for of in usage {
            assert_eq!((of.shared_with.len(), of.shared_with_more), (SHARED_WITH, 4));
            assert!(of.shared_with.is_sorted_by_key(|shared| shared.digest));
        }
    }

    #[test]
    fn sizes_of_strangers_do_not_overflow() {
        let all = [
            blobs("a", &[("x", u64::MAX), ("y", u64::MAX)]),
            blobs("b", &[("x", u64::MAX), ("y", u64::MAX)]),
        ];
        let (usage, bytes) = usage(&all);
        assert_eq!((usage[0].sizes.shared, bytes), (u64::MAX, u64::MAX));
    }
}
