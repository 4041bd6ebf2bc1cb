//! A `spore` with a root of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use format::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::run::{DEADLINE, Outcome, Run};
use super::{files, processes};

/// What of the caller's environment chooses the engine and the mirrors; other `SPORE_*` would change what is
/// tested.
const PASSED_ON: &[&str] = &[
    "SPORE_QEMU",
    "SPORE_QEMU_DATA",
    "SPORE_ACCEL",
    "SPORE_DEBIAN_MIRROR",
    "SPORE_DEBIAN_SECURITY_MIRROR",
    "SPORE_LOG",
];

/// An installed `spore`, as one user of one host sees it: a root, a home, an environment. Dropped, it ends
/// its sandboxes.
#[derive(Debug)]
pub struct Spore {
    program: PathBuf,
    root: PathBuf,
    /// A command that the arguments of `spore` are appended to: one that changes namespace or user, for
    /// instance.
    within: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Goes last, after the sandboxes in it.
    _folder: TempDir,
}

impl Spore {
    /// With an empty root.
    pub fn new() -> Self {
        let folder = files::scratch("root");
        Self::in_folder(folder, Path::new("root"))
    }

    /// With the root `root` in `folder`, which becomes the home and goes when this is dropped.
    pub fn in_folder(folder: TempDir, root: &Path) -> Self {
        let environment = vec![
            ("HOME".into(), folder.path().into()),
            ("XDG_CONFIG_HOME".into(), folder.path().join("config").into()),
        ];
        let root = folder.path().join(root);
        Self { program: files::program(), root, within: Vec::new(), environment, _folder: folder }
    }

    /// Runs another copy of the executable.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Runs everything through a command.
    pub fn within(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.within = command.into_iter().map(Into::into).collect();
        self
    }

    /// Nobody has logged in anywhere, and whoever does, does so here.
    pub fn without_logins(self) -> Self {
        let [runtime, docker] = ["runtime", "docker"].map(|folder| self.root.with_file_name(folder));
        self.env("XDG_RUNTIME_DIR", runtime).env("DOCKER_CONFIG", docker)
    }

    /// Sets a variable for everything that is run.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the root another name, under which only what is run sees it.
    pub fn seen_at(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `spore ARGS`, not run yet.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        let mut words = self.within.iter().map(OsString::as_os_str).chain([self.program.as_os_str()]);
        let mut run = Run::new(words.next().expect("there is a program"))
            .args(words)
            .args([OsStr::new("--root"), self.root.as_os_str()])
            .args(args);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SPORE_") && !PASSED_ON.contains(&&*name) {
                run.command().env_remove(&*name);
            }
        }
        run.command().envs(self.environment.iter().map(|(name, value)| (name, value)));
        run
    }

    /// `spore ARGS`, run to its end, whatever that is.
    #[track_caller]
    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
        self.command(args).finish()
    }

    /// The JSON that `spore ARGS` gives; it is to succeed.
    #[track_caller]
    pub fn json(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Value {
        self.command(args).args(["--format", "json"]).finish().succeeds().json()
    }

    /// Bakes a recipe's folder, and gives the snapshot.
    #[track_caller]
    pub fn bake(&self, recipe: &Path) -> Digest {
        const BAKE_DEADLINE: Duration = Duration::from_secs(540);
        let bake = self.command(["bake".as_ref(), recipe.as_os_str(), "--format".as_ref(), "json".as_ref()]);
        digest(&bake.deadline(BAKE_DEADLINE).finish().succeeds().json())
    }

    /// Forks, and gives the ids.
    #[track_caller]
    pub fn fork(&self, snapshot: &str, count: usize) -> Vec<String> {
        let forked = self.json(["fork", snapshot, "-n", &count.to_string()]);
        let ids: Vec<_> = strings(&forked["sandboxes"], "id");
        assert_eq!(ids.len(), count, "{forked}");
        ids
    }

    /// What a shell script prints in a sandbox; it is to succeed.
    #[track_caller]
    pub fn sh(&self, id: &str, script: &str) -> String {
        self.run(["exec", id, "--", "/bin/sh", "-ec", script]).succeeds().text().to_owned()
    }

    /// What an evaluation prints; it is to succeed.
    #[track_caller]
    pub fn eval(&self, id: &str, code: &str) -> String {
        self.run(["eval", id, code]).succeeds().text().to_owned()
    }

    /// The ids of all sandboxes, dead ones too.
    #[track_caller]
    pub fn sandboxes(&self) -> Vec<String> {
        strings(&self.json(["ps", "--all"])["sandboxes"], "id")
    }

    /// Asserts that the store is whole.
    #[track_caller]
    pub fn fsck(&self) {
        self.command(["fsck"]).deadline(3 * DEADLINE).finish().succeeds();
    }

    /// Asserts that there is no sandbox, and no process that belongs to one.
    #[track_caller]
    pub fn assert_no_sandboxes(&self) {
        assert_eq!(self.sandboxes(), Vec::<String>::new());
        let processes = processes::in_folder(&self.root.join("sandboxes"));
        assert!(processes.is_empty(), "left behind: {processes:?}");
    }
}

impl Drop for Spore {
    fn drop(&mut self) {
        let killed = self.command(["kill", "--all"]).start().wait(DEADLINE);
        // Whatever is said of it below: what `kill` has left must not outlive the test.
        let left = processes::in_folder(&self.root);
        processes::kill(&left);
        if !std::thread::panicking() {
            killed.expect("kill ends in time").succeeds();
            assert!(left.is_empty(), "left behind: {left:?}");
            assert_eq!(self.sandboxes(), Vec::<String>::new());
        }
    }
}

/// The strings that the objects of a list have in one field.
#[track_caller]
pub fn strings(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("expected a list, not {list}"));
    let string = |value: &Value| value[field].as_str().map(str::to_owned);
    list.iter().map(|value| string(value).unwrap_or_else(|| panic!("no {field:?} in {value}"))).collect()
}

/// The snapshot that a verb says it has made or fetched.
#[track_caller]
pub fn digest(said: &Value) -> Digest {
    let digest = said["digest"].as_str().and_then(|digest| digest.parse().ok());
    digest.unwrap_or_else(|| panic!("no digest in {said}"))
}
