//! Makes the empty overlay that a fork writes to (qcow2 version 3, `docs/interop/qcow2.rst` of QEMU).
//!
//! The file names no backing file and no format: what lies below it is said when it is attached. One header, one
//! refcount table and block, one empty L1 table: what it does not hold comes from below.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one L2 table maps: a cluster of 8-byte entries, each for one cluster.
const L2_REACH: u64 = CLUSTER / 8 * CLUSTER;
/// log2 of the bits of a refcount.
const REFCOUNT_ORDER: u32 = 4;
const HEADER_BYTES: u32 = 104;

/// Where the tables lie, in clusters.
const REFCOUNT_TABLE: u64 = 1;
const REFCOUNT_BLOCK: u64 = 2;
const L1_TABLE: u64 = 3;

/// The largest disk. Its L1 table has 4 clusters, where the one refcount block would do for 32,760.
const MAX_BYTES: u64 = format::limits::DISK_BYTES;

/// Writes an empty overlay for a disk of `size` bytes to `file`, which is empty.
///
/// # Errors
/// If `size` is 0 or more than [`MAX_BYTES`], or the file cannot be written.
pub(super) fn write_empty_overlay(file: &File, size: u64) -> io::Result<()> {
    if size == 0 || size > MAX_BYTES {
        let message = format!("a disk of {size} bytes: expected 1 to {MAX_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let l1_entries = size.div_ceil(L2_REACH);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
    let clusters = L1_TABLE + l1_clusters;
    file.set_len(clusters * CLUSTER)?;
    file.write_all_at(&header(size, l1_entries), 0)?;
    file.write_all_at(&(REFCOUNT_BLOCK * CLUSTER).to_be_bytes(), REFCOUNT_TABLE * CLUSTER)?;
    let refcounts: Vec<u8> = (0..clusters).flat_map(|_| 1_u16.to_be_bytes()).collect();
    file.write_all_at(&refcounts, REFCOUNT_BLOCK * CLUSTER)
}

fn header(size: u64, l1_entries: u64) -> Vec<u8> {
    let mut header = Vec::new();
    let long = |header: &mut Vec<u8>, number: u64| header.extend(number.to_be_bytes());
    let short = |header: &mut Vec<u8>, number: u32| header.extend(number.to_be_bytes());
    header.extend(*b"QFI\xfb");
    short(&mut header, 3);
    // No backing file: its offset and length.
    long(&mut header, 0);
    short(&mut header, 0);
    short(&mut header, CLUSTER_BITS);
    long(&mut header, size);
    // No encryption.
    short(&mut header, 0);
    // At most 32,768 entries: 16 TiB.
    short(&mut header, u32::try_from(l1_entries).unwrap_or(u32::MAX));
    long(&mut header, L1_TABLE * CLUSTER);
    long(&mut header, REFCOUNT_TABLE * CLUSTER);
    // One cluster of refcount table.
    short(&mut header, 1);
    // No internal snapshots; no incompatible, compatible or auto-clear features.
    short(&mut header, 0);
    long(&mut header, 0);
    long(&mut header, 0);
    long(&mut header, 0);
    long(&mut header, 0);
    short(&mut header, REFCOUNT_ORDER);
    short(&mut header, HEADER_BYTES);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn qemu_img_finds_nothing_wrong() {
        if Command::new("qemu-img").arg("--version").output().is_err() {
            println!("skipped: qemu_img_finds_nothing_wrong: qemu-img is not installed");
            return;
        }
        for size in [4096, 1 << 30, (1 << 30) + 4096, 3 << 40, MAX_BYTES] {
            let file = tempfile::NamedTempFile::new().unwrap();
            write_empty_overlay(file.as_file(), size).unwrap();
            let run = |verb: &str| {
                let output = Command::new("qemu-img")
                    .args([verb, "--output=json", "-f", "qcow2"])
                    .arg(file.path())
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{size}: {}", String::from_utf8_lossy(&output.stderr));
                serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
            };
            let check = run("check");
            assert_eq!((&check["check-errors"], &check["leaks"]), (&0.into(), &serde_json::Value::Null));
            let info = run("info");
            assert_eq!(info["virtual-size"], size);
            assert_eq!(info.get("backing-filename"), None);
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [0, MAX_BYTES + 1, u64::MAX] {
            let file = tempfile::tempfile().unwrap();
            assert!(write_empty_overlay(&file, size).is_err());
            assert_eq!(file.metadata().unwrap().len(), 0);
        }
    }
}
