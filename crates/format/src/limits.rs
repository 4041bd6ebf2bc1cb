//! Every bound on what a snapshot may declare, in one place (docs/format.md).
//!
//! Each is checked before anything of that size is allocated or written.

/// Bytes of a page, the unit of maps.
pub const PAGE_SIZE: u64 = 4096;

/// Bytes of a manifest or an image index.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// Bytes of a config.
pub const CONFIG_BYTES: usize = 1 << 20;
/// Bytes of a text field without a bound of its own.
pub const TEXT_BYTES: usize = 4096;
/// Bytes of a kernel command line.
pub const COMMAND_LINE_BYTES: usize = 2048;
/// Bytes of an engine state, decompressed.
pub const STATE_BYTES: usize = 64 << 20;
/// Bytes of a kernel image or an initrd.
pub const KERNEL_BYTES: u64 = 256 << 20;

/// Virtual CPUs.
pub const VCPUS: u32 = 64;
/// Bytes of guest memory.
pub const MEMORY_BYTES: u64 = 1 << 40;
/// Bytes of one disk.
pub const DISK_BYTES: u64 = 16 << 40;
/// Layer disks of one machine.
pub const LAYERS: usize = 12;
/// Attachments of one snapshot.
pub const ATTACHMENTS: usize = 64;

/// Bytes of a map, decompressed.
pub const MAP_BYTES: usize = 64 << 20;
/// Blobs that one map may use.
pub const MAP_BLOBS: usize = 65_536;
/// Extents of one map: 64 MiB of them in memory.
pub const MAP_EXTENTS: usize = 1 << 22;

/// Plain bytes of one frame.
pub const FRAME_PLAIN_BYTES: usize = 1 << 20;
/// Compressed bytes of one frame: zstd's bound for incompressible input, rounded up.
pub const FRAME_COMPRESSED_BYTES: usize = FRAME_PLAIN_BYTES + (FRAME_PLAIN_BYTES >> 8) + 64;
/// Frames of one blob.
pub const BLOB_FRAMES: usize = 65_536;
/// Bytes of a frame blob, its index included.
pub const BLOB_BYTES: u64 = 64 << 20;
