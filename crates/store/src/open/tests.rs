//! What can be a store's root.
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_new_root_is_private_and_an_oci_layout() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/root");
    let store = Store::open(&root).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read(root.join("oci-layout")).unwrap(), LAYOUT);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(Store::open(&root).unwrap().root(), store.root());
}

#[test]
fn an_interrupted_making_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for kept in ["tmp", "refs", "blobs", "lost+found"] {
        fs::create_dir_all(folder.path().join(kept)).unwrap();
    }
    fs::write(folder.path().join("tmp/leftover"), b"x").unwrap();
    Store::open(folder.path()).unwrap();
    assert!(!folder.path().join("tmp/leftover").exists());
}

#[test]
fn what_holds_something_else_is_refused_and_left_alone() {
    let refused = |fill: &dyn Fn(&Path), reason: &str| {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path());
        let before = names(folder.path()).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(names(folder.path()).unwrap(), before);
    };
    refused(&|root| fs::write(root.join("thesis.tex"), "x").unwrap(), "thesis.tex");
    refused(&|root| fs::write(root.join("index.json"), "x").unwrap(), "index.json");
    refused(
        &|root| {
            fs::create_dir(root.join("refs")).unwrap();
            fs::write(root.join("refs/heads"), "x").unwrap();
        },
        "not empty",
    );
    // Another tool's layout, such as a hub's folder.
    refused(
        &|root| {
            fs::create_dir_all(root.join("blobs/sha256")).unwrap();
            fs::write(root.join("oci-layout"), LAYOUT).unwrap();
        },
        "OCI layout without refs/",
    );
    refused(
        &|root| fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"9"}"#).unwrap(),
        "oci-layout",
    );
}

#[test]
fn another_owner_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: another_owner_is_refused: only root can make a folder of somebody else");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Owner { owner: 12345, .. }), "{error}");
}

#[test]
fn a_folder_on_another_filesystem_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap();
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let elsewhere = Path::new("/dev/shm");
    let owner = fs::metadata(elsewhere).map(|metadata| metadata.uid()).ok();
    if device(elsewhere).is_none_or(|other| Some(other) == device(folder.path()))
        || owner != Some(rustix::process::geteuid().as_raw())
    {
        println!(
            "skipped: a_folder_on_another_filesystem_is_refused: /dev/shm is not another filesystem of ours"
        );
        return;
    }
    fs::remove_dir(folder.path().join("flat")).unwrap();
    std::os::unix::fs::symlink(elsewhere, folder.path().join("flat")).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::SpansFilesystems { .. }), "{error}");
}

#[test]
fn two_first_commands_make_one_store() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for round in 0..50 {
        let root = folder.path().join(round.to_string());
        std::thread::scope(|scope| {
            let both = [0, 1].map(|_| scope.spawn(|| Store::open(&root).map(drop)));
            both.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
    }
}

/// All that is in a folder: names, and what files hold.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for name in names(folder).unwrap() {
        let path = folder.join(name);
        if path.is_dir() {
            all.push((path.clone(), Vec::new()));
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_store_says_its_version_and_one_without_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("version");
    Store::open(folder.path()).unwrap();
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    fs::remove_file(&version).unwrap();
    let kept = folder.path().join("blobs/sha256/kept");
    fs::write(&kept, b"x").unwrap();
    Store::open(folder.path()).unwrap();
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    assert_eq!(fs::read(kept).unwrap(), b"x");
}

#[test]
fn a_newer_store_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    Store::open(root).unwrap();
    fs::write(root.join("version"), "2\n").unwrap();
    // What an opening would sweep, make again and write.
    fs::write(root.join("tmp/leftover"), b"x").unwrap();
    fs::remove_dir(root.join("origins")).unwrap();
    fs::remove_file(root.join("index.json")).unwrap();
    // What a newer version may have.
    fs::create_dir(root.join("epochs")).unwrap();
    let before = contents(root);
    let error = Store::open(root).unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 2, .. }), "{error}");
    assert!(error.to_string().contains("install the Spore that made it"), "{error}");
    assert_eq!(contents(root), before);
}

#[test]
fn what_is_no_version_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap();
    for text in ["", "\n", "0\n", "one\n", "-1\n", "1.5\n", "99999999999\n", " 1\n", "1\n\n"] {
        fs::write(folder.path().join("version"), text).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no version") && error.contains("/version"), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(folder.path().join("version")).unwrap(), text);
    }
}
