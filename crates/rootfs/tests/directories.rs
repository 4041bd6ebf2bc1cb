//! Layers of a recipe's own folders, looked at by the tools of erofs-utils.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use common::{has, look, recipe, unpack};
use rootfs::{BaseImage, BaseSource, Error, Mirrors, NoLayers, NoRegistries, Recipe, Silent};

const NEEDED: [&str; 2] = ["dump.erofs", "fsck.erofs"];

fn build(folder: &Path, out: &Path) -> Result<BaseImage, Error> {
    let recipe = Recipe::load(folder).unwrap();
    BaseSource::open(&recipe, &NoRegistries)?.build(&Mirrors::default(), None, &NoLayers, out, &Silent)
}

/// A base of two folders, in which /tmp, /root and /bin are what they usually are.
fn sample(extra: &str) -> tempfile::TempDir {
    let folder = recipe(&format!("[base]\ndirectories = [\"lower\", \"upper\"]\n{extra}"));
    let lower = folder.path().join("lower");
    for (name, mode) in [("tmp", 0o1777), ("root", 0o700), ("usr/bin", 0o755)] {
        fs::create_dir_all(lower.join(name)).unwrap();
        fs::set_permissions(lower.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("usr/bin", lower.join("bin")).unwrap();
    for number in 0..200 {
        fs::write(lower.join(format!("usr/file-{number}")), format!("{number}")).unwrap();
    }
    fs::create_dir(folder.path().join("upper")).unwrap();
    fs::write(folder.path().join("upper/note"), "upper").unwrap();
    fs::write(folder.path().join("added"), "added").unwrap();
    folder
}

#[test]
fn equal_folders_make_equal_layers() {
    if !has("equal_folders_make_equal_layers", &NEEDED) {
        return;
    }
    let files = "[[files]]\nsource = \"added\"\ndestination = \"/opt/a/added\"\n";
    let (first, second) = (sample(files), sample(files));
    // Neither times nor the order in which the host made and lists entries may matter.
    let usr = second.path().join("lower/usr");
    for number in (0..200).rev() {
        let (name, other) = (usr.join(format!("file-{number}")), usr.join("renamed"));
        fs::rename(&name, &other).unwrap();
        fs::copy(&other, &name).unwrap();
        fs::remove_file(&other).unwrap();
    }
    let (out_first, out_second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layers = |image: BaseImage| image.layers.into_iter().map(|l| (l.digest, l.size)).collect::<Vec<_>>();
    let first_layers = layers(build(first.path(), out_first.path()).unwrap());
    assert_eq!(first_layers.len(), 3);
    assert_eq!(first_layers, layers(build(second.path(), out_second.path()).unwrap()));
    let names: Vec<_> =
        fs::read_dir(out_first.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "only layers are left: {names:?}");

    let key = |folder: &Path| {
        BaseSource::open(&Recipe::load(folder).unwrap(), &NoRegistries).unwrap().key().unwrap()
    };
    assert_eq!(key(first.path()), key(second.path()));
    let before = key(second.path());
    fs::set_permissions(second.path().join("added"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(before, key(second.path()));
}

#[test]
fn added_files_keep_the_folders_they_go_to() {
    if !has("added_files_keep_the_folders_they_go_to", &NEEDED) {
        return;
    }
    let folder = sample(
        "[[files]]\nsource = \"added\"\ndestination = \"/tmp/added\"\nmode = \"0600\"\n\
         [[files]]\nsource = \"tree\"\ndestination = \"/root\"\n",
    );
    fs::create_dir_all(folder.path().join("tree/.config")).unwrap();
    fs::write(folder.path().join("tree/.config/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.path().join("tree/.config/run"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("/etc/passwd", folder.path().join("tree/link")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path()).unwrap();
    let unpacked = out.path().join("unpacked");
    unpack(&image.layers[2].path, &unpacked);
    for (path, mode) in [
        ("", 0o40_755),
        ("tmp", 0o41_777),
        ("tmp/added", 0o100_600),
        ("root", 0o40_700),
        ("root/.config", 0o40_755),
        ("root/.config/run", 0o100_755),
        ("root/link", 0o120_777),
    ] {
        let meta = unpacked.join(path).symlink_metadata().unwrap();
        assert_eq!((meta.mode(), meta.mtime()), (mode, 1_672_531_200), "{path}: {:o}", meta.mode());
    }
    assert_eq!(fs::read_link(unpacked.join("root/link")).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn added_files_hide_nothing_of_the_base() {
    if !has("added_files_hide_nothing_of_the_base", &NEEDED) {
        return;
    }
    for (destination, problem) in [
        (
            "/bin/tool",
            "/bin is a folder of the recipe's files but a symbolic link in the base: use the folder's real path",
        ),
        (
            "/note/x",
            "/note is a folder of the recipe's files but a file in the base: use the folder's real path",
        ),
        ("/usr", "/usr of the recipe's files is a folder in the base, which a file would hide"),
    ] {
        let folder = sample(&format!("[[files]]\nsource = \"added\"\ndestination = \"{destination}\"\n"));
        let out = tempfile::tempdir().unwrap();
        assert_eq!(build(folder.path(), out.path()).unwrap_err().to_string(), problem);
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "a failure leaves nothing");
    }
    let twice = "[[files]]\nsource = \"added\"\ndestination = \"/x\"\n".repeat(2);
    let out = tempfile::tempdir().unwrap();
    let error = build(sample(&twice).path(), out.path()).unwrap_err();
    assert_eq!(error.to_string(), "/x of the recipe's files is added twice");
}

#[test]
fn owners_are_numbers_of_the_guest() {
    if !has("owners_are_numbers_of_the_guest", &["dump.erofs"]) {
        return;
    }
    let folder = sample("[[files]]\nsource = \"tree\"\ndestination = \"/home/ann\"\nowner = \"1000:1001\"\n");
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/.profile"), "").unwrap();
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path()).unwrap();
    for (path, uid, gid) in [("/home", 0, 0), ("/home/ann", 1000, 1001), ("/home/ann/.profile", 1000, 1001)] {
        let found = look(&image.layers[2].path, path);
        assert!(found.contains(&format!("Uid: {uid}   Gid: {gid} ")), "{path}: {found}");
    }
}

#[test]
fn a_data_image_has_the_times_of_its_folder() {
    if !has("a_data_image_has_the_times_of_its_folder", &NEEDED) {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("data");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/file"), "content").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 123_456_789);
    fs::File::open(folder.join("sub/file")).unwrap().set_modified(time).unwrap();
    let image = at.path().join("image");
    rootfs::create_data_image(&folder, &image, &rootfs::Silent).unwrap();
    let unpacked = at.path().join("unpacked");
    unpack(&image, &unpacked);
    let file = unpacked.join("sub/file");
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), time);
    let names: Vec<_> = fs::read_dir(at.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
    let unwanted = at.path().join("unwanted");
    let error = rootfs::create_data_image(&folder, &unwanted, &Interrupted).unwrap_err();
    assert!(error.to_string().contains("interrupted") && !unwanted.exists(), "{error}");
    // What is there is not replaced.
    assert!(rootfs::create_data_image(&folder, &image, &rootfs::Silent).is_err());
}

/// Says at once that what is made is not wanted any more.
struct Interrupted;

impl rootfs::Progress for Interrupted {
    fn stage(&self, _name: &str, _detail: &str) {}

    fn is_interrupted(&self) -> bool {
        true
    }
}
