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
/// Bytes of one disk, all of which are less: its pages are counted in 32 bits.
pub const DISK_BYTES: u64 = 16 << 40;
/// Layer disks of one machine.
pub const LAYERS: usize = 12;
/// Attachments of one snapshot.
pub const ATTACHMENTS: usize = 64;
/// Features of a CPU that a config names.
pub const CPU_FEATURES: usize = 256;
/// Bytes of a word: a name that an engine is given.
pub const WORD_BYTES: usize = 128;

/// Bytes of a map, decompressed: 16 for each of the most extents.
pub const MAP_BYTES: usize = 32 << 20;
/// Blobs that one map may use: more than a manifest of the largest size can list.
pub const MAP_BLOBS: usize = 32_768;
/// Extents of one map: 32 MiB of them in memory, so that a command can have those of a machine's memory and of its
/// disk, and one more on its way, in less than 200 MB. Measured, a machine's memory has one for each 90 pages: enough
/// for 700 GiB of it.
pub const MAP_EXTENTS: usize = 1 << 21;

/// Plain bytes of one frame.
pub const FRAME_PLAIN_BYTES: usize = 4 << 20;
/// Compressed bytes of one frame: zstd's bound for incompressible input, rounded up.
pub const FRAME_COMPRESSED_BYTES: usize = FRAME_PLAIN_BYTES + (FRAME_PLAIN_BYTES >> 8) + 64;
/// Frames of one blob.
pub const BLOB_FRAMES: usize = 65_536;
/// Bytes of a frame blob, its index included.
pub const BLOB_BYTES: u64 = 64 << 20;
