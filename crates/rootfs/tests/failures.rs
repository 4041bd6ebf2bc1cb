//! Bases that fail on the way: bombs, registries that break off, and users who change their mind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use common::recipe;
use format::Digest;
use image::{Image, Layer, Packing, pack};
use rootfs::{
    BaseSource, Error, ImageError, LayerError, Mirrors, NoLayers, NoRegistries, Progress, Recipe, Registries,
    RegistryError, RegistryErrorKind, RegistryImage, Silent,
};

fn build(folder: &Path, max_size: u64, progress: &dyn Progress) -> Error {
    let recipe = Recipe::load(folder).unwrap();
    let out = tempfile::tempdir().unwrap();
    let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
    let error =
        source.build(&Mirrors::default(), Some(max_size), &NoLayers, out.path(), progress).unwrap_err();
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "a failure leaves nothing");
    error
}

fn reason(error: &Error) -> &LayerError {
    match error {
        Error::Layer { source, .. } => source,
        Error::Image { source, .. } => match &**source {
            ImageError::Layer { source, .. } => source,
            error => panic!("{error}"),
        },
        error => panic!("{error}"),
    }
}

#[test]
fn bombs_are_let_off_nowhere() {
    const MIB: u64 = 1 << 20;
    let large = Layer::new().file("zeros", &vec![0; 64 << 20]).build();
    let headers = (0..20_000).fold(Layer::new(), |layer, _| layer.folder("again/", 0o755)).build();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let build = |archive: &[u8]| {
            let folder = recipe("[base]\ntar = \"base.tar\"\n");
            fs::write(folder.path().join("base.tar"), pack(archive, packing)).unwrap();
            build(folder.path(), 8 * MIB, &Silent)
        };
        // Nothing but headers is too much as well.
        for (what, archive) in [("a file", &large), ("headers", &headers)] {
            let error = build(archive);
            let is_named = matches!(reason(&error), LayerError::TooMuch { limit, .. } if *limit == 8 * MIB);
            assert!(is_named && error.to_string().contains("--max-size"), "{what}, {packing:?}: {error}");
        }
        // What fills up an archive behind its end is little.
        let error = build(&vec![0; 64 << 20]);
        assert!(error.to_string().contains("something follows its end"), "{packing:?}: {error}");
    }
    // Input that never becomes output ends when it is asked to: empty members of gzip, frames of zstd that are skipped.
    let empty = pack(b"", Packing::Gzip);
    let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &[0; 8]].concat();
    for part in [empty, [pack(b"", Packing::Zstd), skipped].concat()] {
        let folder = recipe("[base]\ntar = \"base.tar\"\n");
        fs::write(folder.path().join("base.tar"), part.repeat(100_000)).unwrap();
        let error = build(folder.path(), 8 * MIB, &Asks::after(20));
        assert!(matches!(reason(&error), LayerError::Interrupted), "{error}");
    }
}

/// What does not fit twice, as itself and as a layer, is not begun to its end.
#[test]
fn a_disk_is_not_filled() {
    let disk = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=16m", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(disk.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a_disk_is_not_filled: a small filesystem cannot be mounted here");
        return;
    }
    let folder = recipe("[base]\ntar = \"base.tar\"\n");
    let build = |mib: usize| {
        fs::write(folder.path().join("base.tar"), Layer::new().file("x", &vec![7; mib << 20]).build())
            .unwrap();
        let recipe = Recipe::load(folder.path()).unwrap();
        let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
        let built = source.build(&Mirrors::default(), None, &NoLayers, disk.path(), &Silent);
        built.map(|image| fs::remove_file(&image.layers[0].path).unwrap())
    };
    let (small, large) = (build(5), build(12));
    let left = fs::read_dir(disk.path()).unwrap().count();
    Command::new("umount").arg(disk.path()).status().unwrap();
    small.unwrap();
    let error = large.unwrap_err();
    assert!(matches!(reason(&error), LayerError::NoSpace { .. }), "{error}");
    assert_eq!(left, 0);
}

/// Is asked so many times until it says yes.
struct Asks(Cell<u32>);

impl Asks {
    fn after(times: u32) -> Self {
        Self(Cell::new(times))
    }
}

impl Progress for Asks {
    fn stage(&self, _: &str, _: &str) {}

    fn is_interrupted(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}

/// A registry with one image, whose layer's blob is what `blob` gives.
struct Broken {
    image: Image,
    manifest: Vec<u8>,
    blob: Box<dyn Fn() -> Box<dyn Read>>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Broken")
    }
}

impl Broken {
    fn new(size: u64, blob: impl Fn() -> Box<dyn Read> + 'static) -> Self {
        let image = Image::new(vec![Layer::new().file("a", &vec![7; 100_000]).build()]);
        let descriptor = |bytes: &[u8], size| serde_json::json!({"digest": Digest::of(bytes), "size": size});
        let manifest = serde_json::json!({
            "config": descriptor(&image.config, image.config.len() as u64),
            "layers": [descriptor(&image.layers[0], size)],
        });
        Self { manifest: manifest.to_string().into_bytes(), image, blob: Box::new(blob) }
    }

    fn refusal(&self) -> Error {
        let folder = recipe("[base]\nimage = \"docker://registry.example/app:1\"\n");
        let recipe = Recipe::load(folder.path()).unwrap();
        let source = BaseSource::open(&recipe, self).unwrap();
        source.build(&Mirrors::default(), None, &NoLayers, folder.path(), &Silent).unwrap_err()
    }
}

impl Registries for Broken {
    fn manifest(&self, _: &RegistryImage, _: Option<&Digest>) -> Result<Option<Vec<u8>>, RegistryError> {
        Ok(Some(self.manifest.clone()))
    }

    fn blob(
        &self,
        _: &RegistryImage,
        digest: &Digest,
        _: u64,
    ) -> Result<Option<Box<dyn Read>>, RegistryError> {
        if *digest == Digest::of(&self.image.config) {
            return Ok(Some(Box::new(io::Cursor::new(self.image.config.clone()))));
        }
        Ok(Some((self.blob)()))
    }
}

/// Counts what is read of it.
struct Counted<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }
}

struct BreaksOff;

impl Read for BreaksOff {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line is dead"))
    }
}

#[test]
fn registries_that_fail_are_not_taken_for_damage() {
    let whole = Image::new(vec![Layer::new().file("a", &vec![7; 100_000]).build()]).layers.remove(0);
    let size = whole.len() as u64;
    for cut in [0, 100, 5_000] {
        let start = whole[..cut].to_vec();
        let broken = Broken::new(size, move || Box::new(io::Cursor::new(start.clone()).chain(BreaksOff)));
        let error = broken.refusal();
        let is_read =
            matches!(reason(&error), LayerError::Read(error) if error.to_string() == "the line is dead");
        assert!(is_read, "{cut}: {error}");
    }
    // One that ends early gives another blob.
    let start = whole[..5_000].to_vec();
    let error = Broken::new(size, move || Box::new(io::Cursor::new(start.clone()))).refusal();
    assert!(error.to_string().contains("its blob should be"), "{error}");
    // Of one without end little is read behind what is no archive.
    let (read, counter) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let shared = Rc::clone(&counter);
    let endless = Broken::new(1 << 40, move || Box::new(Counted(io::repeat(b'x'), Rc::clone(&shared))));
    let error = endless.refusal();
    assert!(matches!(reason(&error), LayerError::Archive(_)), "{error}");
    read.set(counter.get());
    assert!(read.get() < 8 << 20, "{}", read.get());
    // Nor are zeros read on for as long as they come, which are the end of an archive.
    let shared = Rc::clone(&counter);
    let zeros =
        Broken::new(1 << 30, move || Box::new(Counted(io::repeat(0).take(1 << 30), Rc::clone(&shared))));
    let error = zeros.refusal();
    assert!(matches!(reason(&error), LayerError::Archive(_)), "{error}");
    assert!(counter.get() - read.replace(counter.get()) < 16 << 20);
    // And of one that goes on behind its archive's end.
    let (archive, shared) = (pack(&whole, Packing::Zstd), Rc::clone(&counter));
    let goes_on = Broken::new(1 << 40, move || {
        Box::new(io::Cursor::new(archive.clone()).chain(Counted(io::repeat(b'x'), Rc::clone(&shared))))
    });
    assert!(goes_on.refusal().to_string().contains("layer 1"));
    assert!(counter.get() - read.get() < 8 << 20);
}

#[test]
fn what_a_registry_says_is_passed_on() {
    #[derive(Debug)]
    struct Refuses(RegistryErrorKind);

    impl Registries for Refuses {
        fn manifest(&self, _: &RegistryImage, _: Option<&Digest>) -> Result<Option<Vec<u8>>, RegistryError> {
            Err(RegistryError { kind: self.0, source: "it says no".into() })
        }

        fn blob(
            &self,
            _: &RegistryImage,
            _: &Digest,
            _: u64,
        ) -> Result<Option<Box<dyn Read>>, RegistryError> {
            Ok(None)
        }
    }

    let folder = recipe("[base]\nimage = \"docker://registry.example/app:1\"\n");
    let recipe = Recipe::load(folder.path()).unwrap();
    for kind in [RegistryErrorKind::Missing, RegistryErrorKind::Corrupt, RegistryErrorKind::Other] {
        let error = BaseSource::open(&recipe, &Refuses(kind)).unwrap_err();
        assert!(error.to_string().ends_with("it says no"), "{error}");
        let Error::Image { source, .. } = error else { panic!("{error}") };
        assert!(matches!(*source, ImageError::Registry(error) if error.kind == kind));
    }
}
