//! Recipes: those that ship with Spore, and changes of them that one test needs.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::files;

/// A recipe that ships with Spore.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes").join(name)
}

/// A recipe that ships with Spore, in `folder`, under another name and with more in its `recipe.toml`. Its
/// layers are the same, so that they need not be made again.
#[track_caller]
pub fn write_changed(shipped_name: &str, name: &str, more: &str, folder: &Path) {
    files::copy_tree(&shipped(shipped_name), folder).expect("a recipe can be copied");
    let file = folder.join("recipe.toml");
    let text = fs::read_to_string(&file).expect("a recipe can be read");
    let (old, new) = (format!("name = \"{shipped_name}\"\n"), format!("name = \"{name}\"\n"));
    assert!(text.contains(&old), "{shipped_name} is named otherwise");
    fs::write(&file, text.replacen(&old, &new, 1) + "\n" + more).expect("a recipe can be written");
}

/// As [`write_changed`], in a folder that goes with the value.
#[track_caller]
pub fn changed(shipped_name: &str, name: &str, more: &str) -> TempDir {
    let folder = files::scratch("recipe");
    write_changed(shipped_name, name, more, folder.path());
    folder
}
