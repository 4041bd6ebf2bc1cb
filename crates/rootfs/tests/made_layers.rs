//! Layers that were made before are taken as they are: an image that was built anew fetches only what is new in it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::recipe;
use format::Digest;
use image::{Image, Layer, Packing};
use rootfs::{
    BaseImage, BaseSource, Error, LayerFile, MadeLayers, Mirrors, NoLayers, NoRegistries, Recipe, Silent,
};
use tar::EntryType;

/// Remembers layers.
#[derive(Default)]
struct Kept(RefCell<BTreeMap<Digest, LayerFile>>);

impl Kept {
    fn keep(&self, image: &BaseImage) {
        for layer in &image.layers {
            self.0.borrow_mut().extend(layer.key.map(|key| (key, layer.clone())));
        }
    }
}

impl MadeLayers for Kept {
    fn find(&self, key: &Digest) -> Option<LayerFile> {
        self.0.borrow().get(key).cloned().map(|layer| LayerFile { is_new: false, ..layer })
    }
}

/// Builds an image with an added file; without the blobs of its lowest layers, if so many are `gone`.
fn build(image: &Image, gone: usize, made: &dyn MadeLayers, out: &Path) -> Result<BaseImage, Error> {
    let folder = recipe(
        "[base]\nimage = \"oci:layout\"\n[[files]]\nsource = \"recipe.toml\"\ndestination = \"/srv/data/added\"\n",
    );
    let layout = folder.path().join("layout");
    image.write_layout(&layout, None, Packing::Plain);
    for layer in &image.layers[..gone] {
        fs::remove_file(layout.join("blobs/sha256").join(Digest::of(layer).hex())).unwrap();
    }
    let recipe = Recipe::load(folder.path()).unwrap();
    let source = BaseSource::open(&recipe, &NoRegistries)?;
    source.build(&Mirrors::default(), None, made, out, &Silent)
}

fn digests(image: &BaseImage) -> Vec<Digest> {
    image.layers.iter().map(|layer| layer.digest).collect()
}

/// All that a layer can have, of which layers above need to know.
fn lowest() -> Vec<Vec<u8>> {
    let attributes: [(&str, &[u8]); 2] = [("user.a", &[7; 5000]), ("trusted.b", b"")];
    let first = Layer::new()
        .owned_folder("srv/", 0o2750, 100_000)
        .folder("srv/data/", 0o1700)
        .file_with("srv/large", &vec![7; 10_000], 0o640, 7, &attributes)
        .file_with("srv/small", b"small", 0o640, 7, &attributes[1..])
        .link(EntryType::Link, "srv/again", "srv/large")
        .link(EntryType::Symlink, "data", "srv/data")
        .device("null", 1, 3)
        .link(EntryType::Symlink, "old/link", "/elsewhere")
        .link(EntryType::Symlink, "many/link", "/elsewhere");
    let many = (0..300).fold(first, |layer, number| layer.file(&format!("many/{number}"), b""));
    let second = Layer::new()
        .file("old/.wh..wh..opq", b"")
        .file("old/b", b"b")
        .file("srv/.wh.again", b"")
        .file("many/.wh.link", b"");
    vec![many.build(), second.build()]
}

/// Needs all of what is below: what lands behind a link, hard links to files in blocks and behind inodes, folders that are implied.
fn upper() -> Vec<u8> {
    // The links in the last two are hidden.
    let layer = Layer::new().file("data/x", b"x").file("old/link/x", b"x").file("many/link/x", b"x");
    let layer = layer.link(EntryType::Link, "large", "srv/large").link(EntryType::Link, "small", "srv/small");
    layer.file(".wh.null", b"").build()
}

#[test]
fn only_new_layers_are_fetched() {
    let (out, kept) = (tempfile::tempdir().unwrap(), Kept::default());
    let folder = |name: &str| {
        let folder = out.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    kept.keep(&build(&Image::new(lowest()), 0, &kept, &folder("first")).unwrap());
    let rebuilt = Image::new([lowest(), vec![upper()]].concat());
    let expected = build(&rebuilt, 0, &NoLayers, &folder("whole")).unwrap();
    let found = build(&rebuilt, 2, &kept, &folder("part")).unwrap();
    assert_eq!(digests(&found), digests(&expected), "made on layers that are read back");
    let new: Vec<_> = found.layers.iter().map(|layer| layer.is_new).collect();
    assert_eq!(new, [false, false, true, true]);
    assert_eq!(fs::read_dir(out.path().join("part")).unwrap().count(), 2);
    // One that differs below shares nothing, whatever it has above.
    let other = Image::new([vec![Layer::new().build()], lowest()].concat());
    assert!(build(&other, 1, &kept, &folder("other")).unwrap_err().to_string().contains("it has no blobs/"));
    // Nor does one of which other layers are one.
    let deep: Vec<_> = (0..13).map(|number| Layer::new().file(&format!("{number}"), b"").build()).collect();
    let deep = Image::new([lowest(), deep].concat());
    assert!(build(&deep, 2, &kept, &folder("deep")).is_err());
    let made = build(&deep, 0, &kept, &folder("deep again")).unwrap();
    kept.keep(&made);
    assert_eq!(digests(&build(&deep, 15, &kept, &folder("deep kept")).unwrap()), digests(&made));
}
