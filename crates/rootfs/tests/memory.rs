//! How much memory the largest bases take that are accepted, and those that are refused.
//!
//! A file of its own with one test: the memory is that of the process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::recipe;
use rootfs::{BaseSource, Error, Mirrors, NoLayers, NoRegistries, Recipe, Silent};

/// What any command may take, in bytes, with what the rest of `spore` needs set aside.
const MOST: u64 = 180_000_000;

/// Adds the entry of a number.
type Add<'a> = &'a dyn Fn(&mut Archive, usize);
type Archive = tar::Builder<zstd::stream::Encoder<'static, File>>;

fn header(kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header
}

/// Anonymous memory of this process in bytes.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Makes a layer of the archive that `fill` writes; gives the outcome, and the most memory on the way.
fn build(fill: impl FnOnce(&mut Archive)) -> (Result<u64, Error>, u64) {
    let folder = recipe("[base]\ntar = \"base.tar\"\n");
    write(&folder.path().join("base.tar"), fill);
    let out = tempfile::tempdir().unwrap();
    let recipe = Recipe::load(folder.path()).unwrap();
    let (most, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let built = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
        let built = source.build(&Mirrors::default(), None, &NoLayers, out.path(), &Silent);
        done.store(true, Ordering::Relaxed);
        built
    });
    (built.map(|image| image.layers[0].size), most.into_inner())
}

fn write(path: &Path, fill: impl FnOnce(&mut Archive)) {
    // With the largest window that is taken, which is memory as well.
    let mut encoder = zstd::stream::Encoder::new(File::create(path).unwrap(), 1).unwrap();
    encoder.window_log(26).unwrap();
    let mut archive = tar::Builder::new(encoder);
    fill(&mut archive);
    archive.into_inner().unwrap().finish().unwrap();
}

fn file(archive: &mut Archive, path: &str) {
    archive.append_data(&mut header(tar::EntryType::Regular), path, &[][..]).unwrap();
}

#[test]
fn memory_is_bounded() {
    // As many as the largest images have, and more.
    let (built, most) = build(|archive| {
        for number in 0..250_000 {
            file(archive, &format!("usr/lib/python3/dist-packages/p{}/module-{number}.py", number / 50));
        }
    });
    println!("250,000 files: {most} bytes");
    built.unwrap();
    assert!(most < MOST, "{most}");
    // Each more than fits.
    let shapes: [(&str, usize, Add<'_>); 6] = [
        ("files", 360_000, &|archive, number| file(archive, &format!("{number:x}"))),
        ("folders", 220_000, &|archive, number| {
            let path = format!("{number:x}");
            archive.append_data(&mut header(tar::EntryType::Directory), path, &[][..]).unwrap();
        }),
        ("whiteouts", 360_000, &|archive, number| file(archive, &format!(".wh.{number:x}"))),
        ("hard links", 360_000, &|archive, number| match number {
            0 => file(archive, "a"),
            _ => {
                let mut header = header(tar::EntryType::Link);
                archive.append_link(&mut header, format!("{number:x}"), "a").unwrap();
            }
        }),
        ("attributes", 240_000, &|archive, number| {
            let records = [("SCHILY.xattr.user.a", &[7; 100][..])];
            archive.append_pax_extensions(records).unwrap();
            file(archive, &format!("{number:x}"));
        }),
        ("long names", 290_000, &|archive, number| {
            file(archive, &format!("{}/{number:0>90}", "d".repeat(150)));
        }),
    ];
    for (shape, count, add) in shapes {
        let (built, most) = build(|archive| (0..count).for_each(|number| add(archive, number)));
        println!("{shape}: {most} bytes");
        let said = built.map_err(|error| error.to_string());
        assert!(most < MOST, "{shape}: {most}, {said:?}");
        // Hard links and whiteouts take so little that all of them may fit.
        if !matches!(shape, "hard links" | "whiteouts") {
            assert!(said.unwrap_err().contains("of names and attributes in memory"), "{shape}");
        }
    }
}
