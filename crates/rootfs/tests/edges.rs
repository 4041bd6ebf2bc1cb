//! The edges of what an EROFS image holds, as the kernel of this host reads them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::recipe;
use image::{Image, Layer, Packing};
use rootfs::{BaseImage, BaseSource, Mirrors, NoLayers, NoRegistries, Recipe, Silent};

/// An image, mounted until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this host does not let us: then the test says that it is skipped.
    fn new(test: &str, image: &Path, at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mount = Command::new("mount").args(["-t", "erofs", "-o", "loop,ro"]).arg(image).arg(&at).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at)),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                // EUCLEAN: the image itself is refused.
                assert!(!said.contains("Structure needs cleaning"), "{said}");
                println!("skipped: {test}: EROFS cannot be mounted here: {}", said.trim());
                None
            }
            Err(error) => {
                println!("skipped: {test}: mount cannot be run: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().unwrap();
    }
}

fn build(folder: &Path, out: &Path) -> BaseImage {
    let recipe = Recipe::load(folder).unwrap();
    let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
    source.build(&Mirrors::default(), None, &NoLayers, out, &Silent).unwrap()
}

/// What an archive becomes, mounted.
fn mounted(test: &str, archive: &[u8]) -> Option<(tempfile::TempDir, Mounted)> {
    let folder = recipe("[base]\ntar = \"base.tar\"\n");
    fs::write(folder.path().join("base.tar"), archive).unwrap();
    let image = build(folder.path(), folder.path());
    let mounted = Mounted::new(test, &image.layers[0].path, folder.path().join("mounted"))?;
    Some((folder, mounted))
}

fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
    value.truncate(length);
    value
}

#[test]
fn extended_attributes_of_any_length() {
    // Byte by byte, also over the end of a block; then as much as a file may have.
    let lengths: Vec<usize> = (0..40).chain(3960..4110).chain([8100, 60_000]).collect();
    let value = |length: usize| (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>();
    let archive = lengths.iter().fold(Layer::new(), |layer, &length| {
        let attributes: [(&str, &[u8]); 2] = [("user.a", &value(length)), ("user.b", b"behind")];
        layer.file_with(&format!("{length}"), b"content", 0o644, 0, &attributes)
    });
    let Some((_keep, at)) = mounted("extended_attributes_of_any_length", &archive.build()) else { return };
    for length in lengths {
        let path = at.0.join(length.to_string());
        assert!(attribute(&path, "user.a") == value(length), "{length}");
        assert_eq!(attribute(&path, "user.b"), b"behind", "{length}");
        assert_eq!(fs::read(&path).unwrap(), b"content", "{length}");
    }
}

#[test]
fn extended_attributes_of_any_kind() {
    // Owner rw, user 1000 r, group r, mask r, others nothing; see linux/posix_acl_xattr.h.
    let entry = |tag: u16, may: u16, id: u32| {
        [&tag.to_le_bytes()[..], &may.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let acl = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 6, u32::MAX),
        entry(2, 4, 1000),
        entry(4, 4, u32::MAX),
        entry(0x10, 4, u32::MAX),
        entry(0x20, 0, u32::MAX),
    ]
    .concat();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let attributes: [(&str, &[u8]); 4] = [
        ("system.posix_acl_access", &acl),
        ("trusted.mark", b"1\n2\0"),
        ("security.capability", capability),
        ("user.overlay.redirect", b"/etc"),
    ];
    let archive = Layer::new().file_with("file", b"", 0o640, 7, &attributes).build();
    let Some((_keep, at)) = mounted("extended_attributes_of_any_kind", &archive) else { return };
    let path = at.0.join("file");
    for (name, value) in &attributes[..3] {
        assert_eq!(attribute(&path, name), *value, "{name}");
    }
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(&path, &mut names).unwrap();
    assert!(!String::from_utf8_lossy(&names[..length]).contains("overlay"));
}

#[test]
fn files_and_folders_of_any_length() {
    let sizes = [0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 5120, 5121, 8191, 8192, 8193, 1 << 20];
    let content = |size: usize| (0..size).map(|at| u8::try_from(at % 253).unwrap()).collect::<Vec<_>>();
    let mut layer =
        sizes.iter().fold(Layer::new(), |layer, &size| layer.file(&format!("{size}"), &content(size)));
    // With `.` and `..`, 16 names of these lengths take exactly one block; then one byte less, and one more.
    let names = |last: usize| -> Vec<String> {
        (0..16).map(|n| format!("{n:x}{}", "n".repeat(if n == 15 { last - 1 } else { 241 }))).collect()
    };
    for last in [246, 247, 248] {
        for name in names(last) {
            layer = layer.file(&format!("folder-{last}/{name}"), name.as_bytes());
        }
    }
    let Some((_keep, at)) = mounted("files_and_folders_of_any_length", &layer.build()) else { return };
    for size in sizes {
        assert!(fs::read(at.0.join(size.to_string())).unwrap() == content(size), "{size}");
    }
    assert!(at.0.metadata().unwrap().len() < 4096);
    for (last, size) in [(246, 4095), (247, 4096), (248, 4096 + 12 + 248)] {
        let folder = at.0.join(format!("folder-{last}"));
        assert_eq!(folder.metadata().unwrap().len(), size);
        let mut found: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, names(last));
        for name in found {
            assert_eq!(fs::read(folder.join(&name)).unwrap(), name.as_bytes());
        }
    }
}

#[test]
fn times_and_devices() {
    let times: [(&str, i64, i64); 4] = [
        ("1600000000.123456789", 1_600_000_000, 123_456_789),
        ("-1.25", -2, 750_000_000),
        ("-62135596800", -62_135_596_800, 0),
        ("0", 0, 0),
    ];
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |kind, path: &str, time: &str, major: u32, minor: u32| {
        builder.append_pax_extensions([("mtime", time.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o640);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        builder.append_data(&mut header, path, &[][..]).unwrap();
    };
    for (time, ..) in times {
        put(tar::EntryType::Regular, &format!("at{time}"), time, 0, 0);
    }
    put(tar::EntryType::Block, "disk", "1", 8, 1);
    put(tar::EntryType::Char, "far", "1", 4095, 1_048_575);
    put(tar::EntryType::Fifo, "pipe", "1", 0, 0);
    let archive = builder.into_inner().unwrap();
    let Some((_keep, at)) = mounted("times_and_devices", &archive) else { return };
    let meta = |name: &str| at.0.join(name).symlink_metadata().unwrap();
    for (time, seconds, nanoseconds) in times {
        let meta = meta(&format!("at{time}"));
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (seconds, nanoseconds), "{time}");
    }
    assert!(meta("disk").file_type().is_block_device() && meta("disk").rdev() == rustix::fs::makedev(8, 1));
    let far = meta("far");
    assert!(far.file_type().is_char_device() && far.rdev() == rustix::fs::makedev(4095, 1_048_575));
    assert!(meta("pipe").file_type().is_fifo());
}

#[test]
fn zeros_become_holes() {
    const SIZE: u64 = (4 << 30) + 12_345;
    let folder = recipe("[base]\ntar = \"base.tar.zst\"\n");
    let file = File::create(folder.path().join("base.tar.zst")).unwrap();
    let mut builder = tar::Builder::new(zstd::stream::Encoder::new(file, 1).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(SIZE);
    header.set_mode(0o600);
    let content = std::io::repeat(0).take(SIZE - 5).chain(&b"at it"[..]);
    builder.append_data(&mut header, "sparse", content).unwrap();
    builder.into_inner().unwrap().finish().unwrap();
    let image = build(folder.path(), folder.path());
    let layer = &image.layers[0];
    assert!(layer.size > SIZE);
    assert!(layer.path.metadata().unwrap().blocks() * 512 < 1 << 20, "holes are no bytes of the disk");
    let Some(at) = Mounted::new("zeros_become_holes", &layer.path, folder.path().join("mounted")) else {
        return;
    };
    let sparse = File::open(at.0.join("sparse")).unwrap();
    assert_eq!(sparse.metadata().unwrap().len(), SIZE);
    let mut end = [9; 10];
    sparse.read_exact_at(&mut end, SIZE - 10).unwrap();
    assert_eq!(&end, b"\0\0\0\0\0at it");
}

#[test]
fn empty_layers_are_layers() {
    let folder = recipe("[base]\nimage = \"oci:layout\"\n");
    let image = Image::new(vec![Layer::new().build(), Layer::new().file("a", b"a").build(), vec![0; 1024]]);
    image.write_layout(&folder.path().join("layout"), None, Packing::Gzip);
    let built = build(folder.path(), folder.path());
    for layer in &built.layers {
        assert_eq!(format::Digest::of(&fs::read(&layer.path).unwrap()), layer.digest);
    }
    assert_eq!(built.layers.iter().map(|layer| layer.size).collect::<Vec<_>>(), [4096; 3]);
    let top = folder.path().join("top");
    let Some(at) = Mounted::new("empty_layers_are_layers", &built.layers[2].path, top) else { return };
    assert_eq!(fs::read_dir(&at.0).unwrap().count(), 0);
    assert_eq!(at.0.metadata().unwrap().mode(), 0o40_755);
}
