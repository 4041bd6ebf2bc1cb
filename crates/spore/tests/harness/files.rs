//! Files of tests: where they lie, how they are copied, what they hold.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use format::{Digest, Hasher};
use tempfile::TempDir;

/// The executable under test.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_spore").into()
}

/// Where tests may write: cargo's folder for it, on the filesystem of the target folder.
pub fn workspace_temp() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A folder that goes with the value. Its name begins with `purpose`, for whoever finds one that a killed
/// test has left.
pub fn scratch(purpose: &str) -> TempDir {
    fs::create_dir_all(workspace_temp()).expect("the folder for tests can be made");
    tempfile::Builder::new()
        .prefix(&format!("{purpose}-"))
        .tempdir_in(workspace_temp())
        .expect("a scratch folder")
}

/// Random lower-case letters.
pub fn random_word(length: usize) -> String {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    bytes.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// The sha256 of a file.
#[track_caller]
pub fn digest(path: &Path) -> Digest {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut file = open(path);
    loop {
        let length = file.read(&mut buffer).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if length == 0 {
            return hasher.finish();
        }
        hasher.update(&buffer[..length]);
    }
}

#[track_caller]
pub fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes files under their names in `folder`, with the folders that these name.
#[track_caller]
pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder can be made");
        fs::write(&file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// What lies in a folder, sorted by name.
#[track_caller]
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

/// All that lies below a folder and is no folder, sorted; symbolic links are not followed.
#[track_caller]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).expect("an entry can be examined").is_dir();
    let below = |path: PathBuf| if is_folder(&path) { files_below(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(below).collect()
}

/// Makes `to` a copy of a file or folder: sparse files as such, with permissions and times. Into a folder
/// that is there already goes what it lacks.
///
/// # Errors
/// If `cp` fails.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let cp = ["--archive", "--no-clobber", "--sparse=always", "--no-target-directory", "--"];
    let status = Command::new("cp").args(cp).args([from, to]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cp: {status}"))) }
}

/// As [`copy`], for a folder; makes the folders above it too.
///
/// # Errors
/// If `cp` fails.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    copy(from, to)
}
