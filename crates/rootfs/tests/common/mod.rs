//! What the tests of several files need.
// Each file of tests uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Whether all programs are there; says that the test is skipped otherwise.
pub(crate) fn has(test: &str, programs: &[&str]) -> bool {
    let is_unusable = |program: &&&str| match rootfs::tools().iter().find(|tool| tool.program == **program) {
        Some(tool) => !tool.usable,
        None => Command::new(**program).arg("--help").output().is_err(),
    };
    let missing: Vec<_> = programs.iter().filter(is_unusable).collect();
    for program in &missing {
        println!("skipped: {test}: {program} is missing or too old");
    }
    missing.is_empty()
}

/// A folder with a recipe named "test" of version "1".
pub(crate) fn recipe(rest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recipe.toml"), format!("name = \"test\"\nversion = \"1\"\n{rest}"))
        .unwrap();
    folder
}

/// What dump.erofs says of a path in an image.
pub(crate) fn look(image: &Path, path: &str) -> String {
    let output = Command::new("dump.erofs").arg(format!("--path={path}")).arg(image).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Unpacks an image into a folder that does not exist.
pub(crate) fn unpack(image: &Path, folder: &Path) {
    let output = Command::new("fsck.erofs")
        .arg("--preserve-perms")
        .arg(format!("--extract={}", folder.display()))
        .arg(image)
        .output();
    assert!(output.unwrap().status.success());
}
