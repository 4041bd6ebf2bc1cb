//! A snapshot restores on a host that shares nothing with the one that baked it: another user, another root under another
//! path, another QEMU release, and a mount namespace in which nothing of the baking host exists. And it holds no trace
//! of the baking host: each name that it knows itself by is a random word, and no byte of the snapshot has one.
//!
//! ```text
//!  baking host                                        second host
//!    user root                                          user nobody
//!    HOME, working directory, root: …/WORD              root: /mnt/home/root; …/ is hidden by an empty tmpfs
//!    host name: WORD (UTS namespace)
//!    bake, push ──▶ hub ──────────────────────────────▶ pull, fork, eval (QEMU as installed, then 7.2)
//! ```

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod harness;
mod words;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use format::Digest;
use harness::frozen::Frozen;
use harness::needs::{Need, qemu_7_2, say_skipped, skipped};
use harness::{Spore, files, processes, recipes};
use tempfile::TempDir;
use words::Words;

const NAME: &str = "portable_across_hosts";
/// Debian's `nobody`.
const NOBODY: u32 = 65534;

#[test]
fn portable_across_hosts() {
    if skipped(NAME, &[Need::Bake, Need::Namespaces]) {
        return;
    }
    let baking = BakingHost::new();
    let second = SecondHost::new(&baking);
    let digest = baking.bake_and_push(&second.hub());
    let frozen = Frozen::open(&second.hub(), &digest);
    assert_no_trace(&baking, &second.hub());

    second.spore.run(["pull", "--hub", "/mnt/hub", NAME]).succeeds();
    second.assert_forks(&baking, &frozen);
    match qemu_7_2() {
        Some(folder) => second.with_qemu(&folder).assert_forks(&baking, &frozen),
        None if installed_qemu_is_7_2() => {}
        None => say_skipped(NAME, "QEMU 7.2 is not there to restore under, too: scripts/install-deps.sh --tests"),
    }
}

/// A host that knows itself by random words only.
struct BakingHost {
    spore: Spore,
    /// All of it lies in here.
    folder: PathBuf,
    recipe: PathBuf,
    host_name: String,
    /// Its names.
    words: Vec<String>,
    /// One more word, which is in the snapshot: whoever does not find it has not looked.
    planted: String,
}

impl BakingHost {
    fn new() -> Self {
        let words: Vec<_> = std::iter::repeat_with(|| files::random_word(words::LENGTH)).take(4).collect();
        let planted = files::random_word(words::LENGTH);
        let folder = files::scratch("baking");
        let path = folder.path().to_owned();
        let (home, current, root, host_name) = (path.join(&words[0]), path.join(&words[1]), &words[2], &words[3]);
        let recipe = current.join("recipe");
        let build = format!("[build]\ncommands = [\"seq 1 {FROZEN_LINES} >{FROZEN_FILE}\", \"echo {planted} >/planted\"]\n");
        recipes::write_changed("python-numpy", NAME, &build, &recipe);
        fs::create_dir(&home).expect("a home can be made");
        let script = "echo \"$1\" >/proc/sys/kernel/hostname; cd \"$2\"; shift 2; exec \"$@\"";
        let spore = Spore::in_folder(folder, Path::new(root))
            .env("HOME", &home)
            .within(["unshare", "--uts", "sh", "-euc", script, "sh", host_name])
            .within_more([&current]);
        let host_name = host_name.clone();
        Self { spore, folder: path, recipe, host_name, words, planted }
    }
}
