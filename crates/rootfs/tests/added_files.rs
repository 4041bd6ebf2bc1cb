//! Added files on container images: they see what the layers below are together.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::path::Path;

use common::{has, look, recipe};
use image::{Image, Layer, Packing};
use rootfs::{BaseImage, BaseSource, Error, Mirrors, NoLayers, NoRegistries, Recipe, Silent};
use tar::EntryType;

/// Adds a file at `destination` to an image of these layers.
fn build(layers: Vec<Vec<u8>>, destination: &str, out: &Path) -> Result<BaseImage, Error> {
    let folder = recipe(&format!(
        "[base]\nimage = \"oci:layout\"\n[[files]]\nsource = \"added\"\ndestination = \"{destination}\"\n"
    ));
    fs::write(folder.path().join("added"), "added").unwrap();
    Image::new(layers).write_layout(&folder.path().join("layout"), None, Packing::Plain);
    let recipe = Recipe::load(folder.path()).unwrap();
    BaseSource::open(&recipe, &NoRegistries)?.build(&Mirrors::default(), None, &NoLayers, out, &Silent)
}

/// What the layer of the added file says of `path`.
fn added(layers: Vec<Vec<u8>>, destination: &str, path: &str) -> String {
    let out = tempfile::tempdir().unwrap();
    let image = build(layers, destination, out.path()).unwrap();
    look(&image.layers.last().unwrap().path, path)
}

#[test]
fn added_files_see_what_the_layers_are_together() {
    if !has("added_files_see_what_the_layers_are_together", &["dump.erofs"]) {
        return;
    }
    let below = || Layer::new().owned_folder("srv/", 0o2770, 100_000).folder("srv/data/", 0o700);
    // As the uppermost layer that has it, whoever's it is and whenever it was changed.
    let kept = added(vec![below().build()], "/srv/data/x", "/srv");
    for part in ["Uid: 100000   Gid: 100001 ", "0770", "2020-09-13"] {
        assert!(kept.contains(part), "{part}: {kept}");
    }
    // What a layer hides is not there: a new folder, root's.
    let hidden = [
        Layer::new().file(".wh.srv", b""),
        Layer::new().link(EntryType::Symlink, "srv", "/etc").file("x", b""),
    ];
    let [hiding, linking] = hidden.map(Layer::build);
    for layers in [
        vec![below().build(), hiding.clone()],
        // Where a link was hidden, a folder can be put.
        vec![linking, hiding],
    ] {
        let new = added(layers, "/srv/data/x", "/srv");
        assert!(new.contains("Uid: 0   Gid: 0 ") && new.contains("0755"), "{new}");
    }
    // An opaque folder hides what was in it.
    let opaque = Layer::new().file("srv/.wh..wh..opq", b"").build();
    let new = added(vec![below().build(), opaque], "/srv/data/x", "/srv/data");
    assert!(new.contains("0755"), "{new}");
    // And so does a file in place of a folder, which then is in the way.
    let out = tempfile::tempdir().unwrap();
    let file = Layer::new().file("srv", b"").build();
    let said = build(vec![below().build(), file], "/srv/data/x", out.path()).unwrap_err().to_string();
    assert!(said.contains("/srv is a folder of the recipe's files but a file in the base"), "{said}");
}
