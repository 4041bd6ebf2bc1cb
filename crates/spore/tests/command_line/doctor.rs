//! `spore doctor --fix`. That it installs packages is tried where some are missing: by `make test-dist`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{Spore, terminal};
use crate::{leave_dead_sandbox, user};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A lock that a command has left which laid something out.
fn lock(spore: &Spore) -> PathBuf {
    spore.root().join("locks").join("a".repeat(64))
}

/// A store with a folder that others can look into, a dead sandbox, and a lock that nobody holds.
fn patient() -> (Spore, String) {
    let spore = user();
    fs::set_permissions(spore.root().join("flat"), Permissions::from_mode(0o755)).unwrap();
    fs::write(lock(&spore), b"").unwrap();
    let id = leave_dead_sandbox(&spore);
    (spore, id)
}

/// What of it is left; whether nothing was changed, or everything.
#[track_caller]
fn is_mended(spore: &Spore, id: &str) -> bool {
    let mended = [
        mode(&spore.root().join("flat")) == 0o700,
        !spore.root().join("sandboxes").join(id).exists(),
        !lock(spore).exists(),
    ];
    assert!(mended.iter().all(|one| *one == mended[0]), "{mended:?}");
    mended[0]
}

#[test]
fn it_is_said_and_not_done() {
    let (spore, id) = patient();
    let looked = spore.run(["doctor"]);
    assert!(looked.text().contains("0755") && looked.text().contains("spore doctor --fix"), "{looked}");
    let planned = spore.run(["doctor", "--fix", "--dry-run"]);
    for word in ["would do:", &id, "from 0755 to 0700", "lock file"] {
        assert!(planned.text().contains(word), "{word}: {planned}");
    }
    assert!(!is_mended(&spore, &id));
    // Nobody is there to be asked.
    spore.run(["doctor", "--fix"]).exits_with(2).says(&["--yes"]);
    assert!(!is_mended(&spore, &id));
    for alone in ["--yes", "--dry-run"] {
        spore.run(["doctor", alone]).exits_with(2);
    }
}

#[test]
fn it_is_done_and_said() {
    let (spore, id) = patient();
    let fixed = spore.json(["doctor", "--fix", "--yes"]);
    assert!(is_mended(&spore, &id));
    assert_eq!(fixed["fix"]["dry_run"], false);
    let done = fixed["fix"]["done"].to_string();
    assert!(done.contains(&id) && done.contains("0700"), "{fixed}");
    let names = ["folder modes", "dead sandboxes"];
    let checks = fixed["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert!(names.iter().all(|name| of(name)["state"] == "ok"), "{fixed}");
    // The snapshots are whole, and there is nothing more to do.
    spore.fsck();
    assert_eq!(spore.json(["images"])["images"].as_array().unwrap().len(), 2);
    let again = spore.run(["doctor", "--fix", "--yes"]).succeeds();
    assert!(!again.text().contains("0700") && !again.text().contains(&id), "{again}");
}

#[test]
fn who_is_there_is_asked() {
    for (answer, does) in [("n\n", false), ("\n", false), ("y\n", true)] {
        let (spore, id) = patient();
        let shown = terminal::shown(spore.command(["doctor", "--fix"]), 80, answer);
        assert!(shown.contains("Do this? [y/N]") && shown.contains("0755"), "{shown}");
        assert_eq!(is_mended(&spore, &id), does, "{shown}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let spore = Spore::new();
    fs::create_dir_all(spore.root().join("flat")).unwrap();
    fs::write(spore.root().join("thesis.tex"), "x").unwrap();
    fs::set_permissions(spore.root().join("flat"), Permissions::from_mode(0o755)).unwrap();
    spore.run(["doctor", "--fix", "--yes"]).exits_with(1).says(&["root folder"]);
    assert_eq!(mode(&spore.root().join("flat")), 0o755);
    fs::remove_file(spore.root().join("thesis.tex")).unwrap();
}
