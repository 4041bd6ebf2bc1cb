//! A snapshot restores on a host that shares nothing with the one that baked it: another user, another root
//! under another path, another QEMU release, and a mount namespace in which nothing of the baking host
//! exists. And it holds no trace of the baking host: each name that it knows itself by is a random word, and
//! no byte of the snapshot has one.
//!
//! ```text
//!  baking host                                       second host
//!    root                                              nobody
//!    root, HOME, working directory: …/WORD             root: /mnt/home/NAME; an empty tmpfs hides …
//!    host name, in /etc too: WORD                      host name: the machine's own
//!    bake, push ──▶ hub ─────────────────────────────▶ pull, fork, eval; QEMU as installed, then 7.2
//! ```

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what a test says is its output")]

mod harness;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use format::Digest;
use harness::frozen::Frozen;
use harness::needs::{Need, qemu_7_2, say_skipped, skipped};
use harness::run::Run;
use harness::words::{self, Words};
use harness::{Spore, files, processes, recipes};

const NAME: &str = "portable_across_hosts";
/// Debian's `nobody`.
const NOBODY: u32 = 65534;
/// A file that the bake's commands write, and how: what is in it is known without asking anyone.
const FROZEN_FILE: &str = "/frozen";
const FROZEN_LINES: u32 = 200_000;

#[test]
fn portable_across_hosts() {
    if skipped(NAME, &[Need::Bake, Need::Namespaces]) {
        return;
    }
    let baking = BakingHost::new();
    let second = SecondHost::new(&baking, qemu_7_2().as_deref());
    let digest = baking.bake_and_push(&second.folder.join("hub"));
    baking.assert_no_trace(&second.folder.join("hub"));
    let frozen = Frozen::open(&second.folder.join("hub"), &digest);

    second.spore.run(["pull", "--hub", "/mnt/hub", NAME]).succeeds();
    second.assert_forks(&frozen);
    if qemu_7_2().is_some() {
        second.on_qemu_7_2().assert_forks(&frozen);
    } else if !installed_qemu_is_7_2() {
        say_skipped(NAME, "under QEMU 7.2 too, which is not there: see scripts/install-deps.sh --tests");
    }
}

/// Words are found wherever they begin, in plain files, in frames and behind a map's first byte.
#[test]
fn words_are_found() {
    let folder = files::scratch("words");
    let words: Vec<_> = (0..3).map(|_| words::random()).collect();
    let text = |word: usize, before: usize| format!("{:before$}{} and more", "", words[word]);
    for before in 0..8 {
        fs::write(folder.path().join(format!("plain-{before}")), text(0, before)).expect("a file");
        let frames =
            [zstd::encode_all(&b"first frame"[..], 3), zstd::encode_all(text(1, before).as_bytes(), 3)];
        let frames = frames.map(|frame| frame.expect("a frame")).concat();
        fs::write(folder.path().join(format!("frames-{before}")), &frames).expect("a file");
        fs::write(folder.path().join(format!("map-{before}")), [b"\x01", &*frames].concat()).expect("a file");
    }
    let found = Words::new(&words).find_below(folder.path());
    assert_eq!((found.words.len(), found.decoded), (24, 16), "{found:?}");
    assert!(found.words.iter().all(|(word, _)| *word != words[2]), "{found:?}");
}

/// A host that knows itself by random words only.
struct BakingHost {
    spore: Spore,
    /// All of it lies in here.
    folder: PathBuf,
    recipe: PathBuf,
    /// Its names.
    words: Vec<String>,
    /// A word that is in the snapshot: whoever does not find it has not looked.
    planted: String,
}

impl BakingHost {
    fn new() -> Self {
        let words: Vec<_> = (0..4).map(|_| words::random()).collect();
        let planted = words::random();
        let folder = files::scratch("baking");
        let path = folder.path().to_owned();
        let [root, home, current] = [0, 1, 2].map(|number| path.join(&words[number]));
        let recipe = current.join("recipe");
        let commands = [format!("seq 1 {FROZEN_LINES} >{FROZEN_FILE}"), format!("echo {planted} >/planted")];
        let build = format!("[build]\ncommands = {commands:?}\n");
        recipes::write_changed("python-numpy", NAME, &build, &recipe);
        fs::create_dir(&home).expect("a home can be made");
        let enter = ["unshare", "--uts", "--mount", "sh", "-euc", ENTER_BAKING, "sh", &words[3]];
        let spore = Spore::in_folder(folder, &root)
            .env("HOME", &home)
            .within([enter.map(OsString::from).to_vec(), vec![current.into()]].concat());
        Self { spore, folder: path, recipe, words, planted }
    }

    /// Nothing is cached, so that all of it is made here, the layer too.
    fn bake_and_push(&self, hub: &Path) -> Digest {
        let digest = self.spore.bake(&self.recipe);
        self.spore.run(["push".as_ref(), NAME.as_ref(), "--hub".as_ref(), hub.as_os_str()]).succeeds();
        digest
    }

    fn assert_no_trace(&self, hub: &Path) {
        let all = [&self.words[..], std::slice::from_ref(&self.planted)].concat();
        let found = Words::new(&all).find_below(hub);
        let (planted, traces): (Vec<_>, Vec<_>) =
            found.words.into_iter().partition(|(word, _)| *word == self.planted);
        assert!(
            traces.is_empty(),
            "of the baking host's root, HOME, folder, host name {:?}: {traces:?}",
            self.words
        );
        assert!(!planted.is_empty(), "the word that is there was not found in {} bytes", found.bytes);
        println!("no trace in {} MiB, {} blobs decompressed", found.bytes >> 20, found.decoded);
    }
}

/// Makes `$1` the host's name, which its files in `/etc` say too, since tools copy those into what they
/// install; the working directory is `$2`.
const ENTER_BAKING: &str = r#"
    name=$1 folder=$2
    shift 2
    cd "$folder"
    echo "$name" >/proc/sys/kernel/hostname
    for file in hostname hosts resolv.conf; do
        if [ -e "/etc/$file" ]; then
            { cat "/etc/$file"; printf '# %s\n' "$name"; } >"$file"
            mount --bind "$file" "/etc/$file"
        fi
    done
    exec "$@"
"#;

/// A host where nothing of the baking one exists, and whose user is nobody.
struct SecondHost {
    spore: Spore,
    /// What it has as `/mnt`: an executable, a hub, a home with the root in it.
    folder: PathBuf,
    /// Where its sandboxes lie, from outside.
    sandboxes: PathBuf,
    /// What its engine's command has.
    engine: &'static str,
}

impl SecondHost {
    fn new(baking: &BakingHost, qemu: Option<&Path>) -> Self {
        let folder = files::scratch("second");
        let path = folder.path().to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it can be opened to others");
        fs::copy(files::program(), path.join("spore")).expect("the executable can be copied");
        for name in ["home", "qemu"] {
            fs::create_dir(path.join(name)).expect("a folder can be made");
        }
        chown(path.join("home"), Some(NOBODY), Some(NOBODY)).expect("a home can be given away");
        // Its processes are told from those of another run of this test by the root's name.
        let root = Path::new("home").join(path.file_name().expect("a scratch folder has a name"));
        let enter = ["unshare", "--mount", "sh", "-euc", ENTER_SECOND, "sh"].map(OsString::from);
        let folders = [&path, files::workspace_temp(), &baking.folder, qemu.unwrap_or(Path::new(""))];
        let user = OsString::from(NOBODY.to_string());
        let spore = Spore::in_folder(folder, &root)
            .env("HOME", "/mnt/home")
            .env("XDG_CONFIG_HOME", "/mnt/home/config")
            .program("/mnt/spore")
            .seen_at(Path::new("/mnt").join(&root))
            .within([enter.to_vec(), folders.map(OsString::from).to_vec(), vec![user]].concat());
        Self {
            spore,
            sandboxes: path.join(root).join("sandboxes"),
            folder: path,
            engine: "qemu-system-x86_64",
        }
    }

    fn on_qemu_7_2(self) -> Self {
        let spore = self
            .spore
            .env("SPORE_QEMU", "/mnt/qemu/usr/bin/qemu-system-x86_64")
            .env("SPORE_QEMU_DATA", "/mnt/qemu/usr/share/qemu:/mnt/qemu/usr/share/seabios");
        Self { spore, engine: "/mnt/qemu/usr/bin/qemu-system-x86_64", ..self }
    }

    /// Forks, and asserts that a child is what was frozen: its interpreter, its file, and its disk.
    #[track_caller]
    fn assert_forks(&self, frozen: &Frozen) {
        let spore = &self.spore;
        let children = spore.fork(NAME, 2);
        let lines: String = (1..=FROZEN_LINES).map(|line| format!("{line}\n")).collect();
        let file = format!("{}  {FROZEN_FILE}", Digest::of(lines.as_bytes()).hex());
        let frozen_disk = frozen.writable_disk();
        for id in &children {
            let processes = processes::in_folder(&spore.root().join("sandboxes").join(id));
            assert!(processes.iter().any(|process| process.arguments.contains(self.engine)), "{processes:?}");
            assert_eq!(spore.eval(id, "numpy.zeros(5).tolist()"), "[0.0, 0.0, 0.0, 0.0, 0.0]");
            assert_eq!(spore.sh(id, &format!("sha256sum {FROZEN_FILE}")), file);
            let disk = files::digest(&self.sandboxes.join(id).join("writable.base"));
            assert_eq!(disk, frozen_disk, "the disk is not the one that was frozen");
        }
        spore.run([&["kill".to_owned()], &children[..]].concat()).succeeds();
    }
}

/// Makes `$1` `/mnt`, with QEMU from `$4` if that is not empty; hides `$2`, in which both hosts lie, and sees
/// to it that `$3`, the baking one, is gone. The rest is run by the user `$5`.
const ENTER_SECOND: &str = r#"
    folder=$1 hidden=$2 baking=$3 qemu=$4 user=$5
    shift 5
    [ -e "$baking" ]
    if [ -n "$qemu" ]; then mount --bind "$qemu" "$folder/qemu"; fi
    mount --rbind "$folder" /mnt
    if [ -e "$hidden" ]; then mount -t tmpfs none "$hidden"; fi
    if [ -e "$baking" ]; then echo "$baking is in reach" >&2; exit 99; fi
    cd /mnt/home
    exec setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs "$@"
"#;

fn installed_qemu_is_7_2() -> bool {
    Run::new("qemu-system-x86_64").args(["--version"]).finish().text().contains("version 7.2.")
}
