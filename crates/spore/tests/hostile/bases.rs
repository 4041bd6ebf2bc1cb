//! Bases that nobody should have made: tar archives, and images whose documents or layers are such, for `spore bake`. What is wrong
//! with single entries is tried in full in crate `rootfs`; here it is what becomes of the command and the user's files.

use std::fs;
use std::path::Path;

use format::Digest;
use serde_json::{Value, json};
use tar::EntryType::{Char, GNULongName, Link, Regular, Symlink, XHeader};

use crate::archive::{Archive, Entry};
use crate::harness::files;
use crate::harness::image::Image;

/// A base, and how it is to be found out.
pub struct Base {
    pub what: String,
    pub code: i32,
    pub says: Vec<&'static str>,
    pub options: &'static [&'static str],
    /// Files of the recipe's folder.
    files: Vec<(String, Vec<u8>)>,
    key: &'static str,
}

impl Base {
    /// Writes the recipe to a folder that is not there yet.
    pub fn write(&self, folder: &Path) {
        files::write_all(folder, &self.files);
        let recipe = format!("name = \"evil\"\nversion = \"1\"\n[base]\n{}\n", self.key);
        fs::write(folder.join("recipe.toml"), recipe).expect("a recipe can be written");
    }

    fn tar(what: &str, says: &[&'static str], bytes: Vec<u8>) -> Self {
        Self::new(what, says, "tar = \"base.tar\"", vec![("base.tar".to_owned(), bytes)])
    }

    fn image(what: &str, says: &[&'static str], image: Image) -> Self {
        let files = image.files().into_iter().map(|(name, bytes)| (format!("image/{name}"), bytes));
        Self::new(what, says, "image = \"oci:image\"", files.collect())
    }

    fn new(what: &str, says: &[&'static str], key: &'static str, files: Vec<(String, Vec<u8>)>) -> Self {
        Self { what: what.to_owned(), code: 5, says: says.to_vec(), options: &[], files, key }
    }
}

/// A tar archive of these entries.
fn archive(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    Archive { entries: entries.into_iter().collect(), tail: vec![0; 1024], cut: None }.encode()
}

/// What is right by itself.
fn sound() -> Vec<Entry> {
    vec![
        Entry::of_kind(tar::EntryType::Directory, "etc/", []),
        Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        Entry::to(Symlink, "etc/link", "passwd"),
        Entry::pax("mtime", "1700000000.5"),
        Entry::file("bin", vec![7; 10_000]),
    ]
}

pub fn cases() -> Vec<Base> {
    let mut cases = archives();
    cases.extend(cuts());
    cases.extend(images());
    cases
}

fn archives() -> Vec<Base> {
    let sized = |kind, name: &str, size| {
        let mut entry = Entry::of_kind(kind, name, []);
        entry.header.set_size(size);
        entry
    };
    let bomb = Base {
        code: 1,
        options: &["--max-size", "1MiB"],
        ..Base::tar("a bomb", &["--max-size"], archive([Entry::file("zeros", vec![0; 4 << 20])]))
    };
    let refused = [
        ("a path that leads up", "leads out", vec![Entry::file("../../../.ssh/authorized_keys", "evil")]),
        ("an absolute path", "absolute", vec![Entry::file("/etc/passwd", "evil")]),
        (
            "a path through a link",
            "symbolic link",
            vec![Entry::to(Symlink, "up", "../../.."), Entry::file("up/evil", "evil")],
        ),
        ("a hard link that leads out", "leads out", vec![Entry::to(Link, "shadow", "../../etc/shadow")]),
        ("a whiteout's device", "0:0", vec![device(0, 0)]),
        ("a device of no number", "device number", vec![device(1 << 13, 0)]),
        (
            "a name that a terminal obeys, leading up",
            "leads out",
            vec![Entry::file("\u{1b}[2J/../../x", "evil")],
        ),
        ("a file of 2^60 bytes", "larger than any file", vec![sized(Regular, "big", 1 << 60)]),
        ("a name of 2^30 bytes", "longer than 1 MiB", vec![sized(GNULongName, "././@LongLink", 1 << 30)]),
        ("a header of 2^40 bytes", "longer than 1 MiB", vec![sized(XHeader, "x", 1 << 40)]),
    ];
    let refused = refused.map(|(what, says, entries)| Base::tar(what, &[says], archive(entries)));
    refused.into_iter().chain([bomb]).collect()
}

fn device(major: u32, minor: u32) -> Entry {
    let mut entry = Entry::of_kind(Char, "dev", []);
    entry.header.set_device_major(major).expect("it fits");
    entry.header.set_device_minor(minor).expect("it fits");
    entry
}

/// At the borders of every entry, in its header, and in its middle.
fn cuts() -> Vec<Base> {
    let (entries, mut at, mut cuts) = (sound(), 0, Vec::new());
    for entry in &entries {
        let padded = entry.bytes.len().next_multiple_of(512);
        cuts.extend([at, at + 100, at + 512 + entry.bytes.len() / 2]);
        at += 512 + padded;
    }
    let whole = archive(entries);
    cuts.dedup();
    let cut = |at: &usize| Base::tar(&format!("cut behind byte {at}"), &["base.tar"], whole[..*at].to_vec());
    cuts.iter().map(cut).collect()
}

fn images() -> Vec<Base> {
    let sound = || Image::of(&[archive(sound())]);
    let with_config = |text: String| {
        let mut image = sound();
        image.config["config"] = json!({ "Labels": { "evil": text } });
        image
    };
    let mut swapped = sound();
    swapped.config["rootfs"]["diff_ids"] = json!([Digest::of(b"another")]);
    let mut deep = Base::image("deep JSON", &["image"], sound());
    let (opened, closed) = ("[".repeat(100_000), "]".repeat(100_000));
    for (name, bytes) in &mut deep.files {
        if name == "image/index.json" {
            *bytes = format!("{{\"schemaVersion\":2,\"manifests\":{opened}{closed}}}").into_bytes();
        }
    }
    let many = (0..200_000).map(|number| (format!("{number:060}"), json!("\u{1b}[2J")));
    vec![
        Base::image(
            "a layer that leads up",
            &["leads out"],
            Image::of(&[archive([Entry::file("../../evil", "evil")])]),
        ),
        Base::image("a layer that is another one", &["sha256:"], swapped),
        Base::image("a config of 16 MiB", &["config"], with_config("x".repeat(16 << 20))),
        Base::image(
            "a manifest of 12 MiB",
            &["manifest"],
            Image { annotations: Value::Object(many.collect()), ..sound() },
        ),
        deep,
    ]
}
