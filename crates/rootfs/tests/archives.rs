//! Archives as other tools write them, as bases: equal trees are equal layers, and what is cut short is none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a test fails by panicking; shared helpers"
)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use common::recipe;
use image::{Image, Packing, write_archive};
use rootfs::{BaseSource, Error, Mirrors, NoLayers, NoRegistries, Recipe, Silent};
use tar::{EntryType, Header};

/// The digests of the layers of a recipe with this base, in whose folder `prepare` puts something.
fn layers(base: &str, prepare: impl FnOnce(&Path)) -> Result<Vec<String>, Error> {
    let folder = recipe(&format!("[base]\n{base}\n"));
    prepare(folder.path());
    let out = tempfile::tempdir().unwrap();
    let recipe = Recipe::load(folder.path()).unwrap();
    let source = BaseSource::open(&recipe, &NoRegistries)?;
    let image = source.build(&Mirrors::default(), None, &NoLayers, out.path(), &Silent)?;
    Ok(image.layers.iter().map(|layer| layer.digest.to_string()).collect())
}

fn of_tar(bytes: &[u8]) -> Result<Vec<String>, Error> {
    layers("tar = \"base.tar\"", |folder| fs::write(folder.join("base.tar"), bytes).unwrap())
}

fn of_layer(bytes: &[u8]) -> Result<Vec<String>, Error> {
    layers("image = \"oci:layout\"", |folder| {
        Image::new(vec![bytes.to_vec()]).write_layout(&folder.join("layout"), None, Packing::Plain);
    })
}

/// A small tree, with `prefix` before every name.
fn tree(prefix: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, target, content) in [
        (EntryType::Directory, "", "", ""),
        (EntryType::Directory, "ko-app/", "", ""),
        (EntryType::Regular, "ko-app/x", "", "content"),
        (EntryType::Link, "ko-app/y", "ko-app/x", ""),
    ] {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        let name =
            if name.is_empty() && prefix.is_empty() { "./".to_owned() } else { format!("{prefix}{name}") };
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        if !target.is_empty() {
            let target = format!("{prefix}{target}");
            fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn absolute_names_mean_the_root_of_an_image_and_nothing_in_a_tar() {
    let expected = of_layer(&tree("")).unwrap();
    assert_eq!(of_layer(&tree("/")).unwrap(), expected);
    assert_eq!(of_tar(&tree("")).unwrap(), expected);
    let said = of_tar(&tree("/")).unwrap_err().to_string();
    assert!(said.contains("absolute"), "{said}");
}

#[test]
fn an_archive_that_lacks_its_end_is_none() {
    let whole = tree("");
    let cut = &whole[..whole.len() - 1024];
    // A digest says that this is all of it.
    assert_eq!(of_layer(cut).unwrap(), of_layer(&whole).unwrap());
    let said = of_tar(cut).unwrap_err().to_string();
    assert!(said.contains("cut short"), "{said}");

    let archived = |bytes_less: u64| {
        layers("image = \"oci-archive:image.tar\"", |folder| {
            Image::new(vec![whole.clone()]).write_layout(&folder.join("layout"), None, Packing::Plain);
            write_archive(&folder.join("layout"), &folder.join("image.tar"));
            let file = File::options().write(true).open(folder.join("image.tar")).unwrap();
            file.set_len(file.metadata().unwrap().len() - bytes_less).unwrap();
        })
    };
    archived(0).unwrap();
    let said = archived(1024).unwrap_err().to_string();
    assert!(said.contains("cut short"), "{said}");
}

#[test]
fn a_file_with_holes_is_the_file_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("holes")).unwrap();
    file.set_len(3_000_001).unwrap();
    for place in [0, 700_000, 1_400_000, 2_100_000, 2_500_000, 2_800_000] {
        file.write_all_at(&[b'x'; 5000], place).unwrap();
    }
    let archive = |options: &[&str]| {
        let made = Command::new("tar")
            .args(["-c", "-C"])
            .arg(folder.path())
            .args(["--owner=0", "--group=0", "--mtime=@1600000000"])
            .args(options)
            .arg("holes")
            .output()
            .expect("Debian has tar");
        assert!(made.status.success(), "{options:?}");
        made.stdout
    };
    let plain = archive(&[]);
    let expected = of_tar(&plain).unwrap();
    for format in ["gnu", "posix"] {
        let sparse = archive(&["--sparse", &format!("--format={format}")]);
        assert!(sparse.len() < plain.len() / 2, "it has holes");
        assert_eq!(of_tar(&sparse).unwrap(), expected, "{format}");
    }
    let said =
        of_tar(&archive(&["--sparse", "--format=posix", "--sparse-version=0.1"])).unwrap_err().to_string();
    assert!(said.contains("--sparse-version=1.0"), "{said}");
}
