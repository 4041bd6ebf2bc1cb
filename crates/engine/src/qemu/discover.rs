//! Finding QEMU, and what it can do.
//!
//! Asking costs as much as half a fork, so the answers are kept in a file, for as long as the executable and the
//! host's boot are the same. A file that can't be read is as good as none.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use format::config::Accelerator;
use serde::{Deserialize, Serialize};

use super::version::Version;
use crate::EngineError;

const PROGRAM: &str = "qemu-system-x86_64";

/// Where QEMU is and what decides about it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The executable; otherwise `qemu-system-x86_64` on the `PATH`.
    pub program: Option<PathBuf>,
    /// Folders with its firmware, if it does not find them itself.
    pub data: Vec<PathBuf>,
    /// The accelerator to use without trying it.
    pub accelerator: Option<Accelerator>,
    /// A file to keep answers in; without one they are asked for each time.
    pub cache: Option<PathBuf>,
    /// Whether it runs outside of a Landlock domain: for a `program` that makes mounts of its own, which none may do in one.
    pub unconfined: bool,
}

impl Options {
    /// `SPORE_QEMU`, `SPORE_QEMU_DATA` (folders, separated by colons) and `SPORE_ACCEL` (`tcg` or `kvm`).
    ///
    /// # Errors
    /// If `SPORE_ACCEL` is something else.
    pub fn from_environment() -> Result<Self, EngineError> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The same, of whoever knows what the variables say. Empty is not set.
    ///
    /// # Errors
    /// If `SPORE_ACCEL` is something else.
    pub fn from_variables(set: impl Fn(&str) -> Option<OsString>) -> Result<Self, EngineError> {
        let accelerator = match set("SPORE_ACCEL").as_deref().map(OsStr::to_string_lossy).as_deref() {
            None => None,
            Some("tcg") => Some(Accelerator::Tcg),
            Some("kvm") => Some(Accelerator::Kvm),
            Some(other) => {
                let value = other.to_owned();
                return Err(EngineError::Environment { name: "SPORE_ACCEL", value, expected: "tcg or kvm" });
            }
        };
        let folders = |value: OsString| std::env::split_paths(&value).collect();
        Ok(Self {
            program: set("SPORE_QEMU").map(PathBuf::from),
            data: set("SPORE_QEMU_DATA").map(folders).unwrap_or_default(),
            accelerator,
            cache: None,
            unconfined: false,
        })
    }
}

/// Words with a blank between two. There are hundreds of them, of which a fork asks for a few: to read them is to read one string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Words(String);

impl Words {
    pub(super) fn contains(&self, word: &str) -> bool {
        self.iter().any(|one| one == word)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

impl<'a> FromIterator<&'a str> for Words {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        Self(words.into_iter().collect::<Vec<_>>().join(" "))
    }
}

/// A QEMU and what it said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    /// What the answers hold for.
    key: Key,
    pub(super) version: Version,
    pub(super) machine_types: Words,
    pub(super) cpu_models: Words,
    pub(super) cpu_features: Words,
    /// Whether a guest ran on KVM; `None` if that was not tried.
    pub(super) kvm_works: Option<bool>,
}

/// Another executable, or another boot of the host, has other answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    program: PathBuf,
    data: Vec<PathBuf>,
    size: u64,
    changed: (i64, i64),
    boot: String,
}

impl Found {
    /// Finds QEMU, and asks it what is not in the cache.
    pub(super) fn find(options: &Options) -> Result<Self, EngineError> {
        let key = Key::of(options)?;
        if let Some(found) = options.cache.as_deref().and_then(read).filter(|found| found.key == key) {
            return Ok(found);
        }
        let found = Self::ask(key)?;
        found.remember(options.cache.as_deref());
        Ok(found)
    }

    fn ask(key: Key) -> Result<Self, EngineError> {
        let unusable = |reason| unusable(&key.program, reason);
        let text = key.output(&["--version"])?;
        let version = Version::parse(&text)
            .ok_or_else(|| unusable(format!("its version is not understood: {:?}", text.lines().next())))?;
        if version < Version::OLDEST {
            return Err(unusable(format!("it is version {version}")));
        }
        let machines = key.output(&["-machine", "help"])?;
        let machine_types = machines.lines().skip(1).filter_map(first_word).collect();
        let cpus = key.output(&["-cpu", "help"])?;
        let (models, features) = cpus.split_once("Recognized CPUID flags:").unwrap_or((&cpus, ""));
        // Releases before 8.0 begin each line with the architecture.
        let models = models.lines().skip(1);
        let cpu_models =
            models.filter_map(|line| first_word(line.strip_prefix("x86 ").unwrap_or(line))).collect();
        let cpu_features = features.split_ascii_whitespace().collect();
        Ok(Self { key, version, machine_types, cpu_models, cpu_features, kvm_works: None })
    }

    /// Keeps the answers. That they can't be kept costs time only.
    pub(super) fn remember(&self, cache: Option<&Path>) {
        let Some(cache) = cache else { return };
        let part = cache.with_extension(format!("{}.part", std::process::id()));
        let written = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs::write(&part, bytes))
            .and_then(|()| fs::rename(&part, cache));
        if let Err(error) = written {
            tracing::debug!(?cache, %error, "what QEMU can do is not kept");
        }
    }

    pub(super) fn program(&self) -> &Path {
        &self.key.program
    }

    /// Folders with its firmware, if it does not find them itself.
    pub(super) fn data(&self) -> &[PathBuf] {
        &self.key.data
    }

    /// The options that name its firmware's folders.
    pub(super) fn data_options(&self) -> Vec<String> {
        self.key.data_options()
    }
}

impl Key {
    fn of(options: &Options) -> Result<Self, EngineError> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => on_path().ok_or_else(|| not_found(format!("no {PROGRAM} on the PATH")))?,
        };
        let absent = |error| not_found(format!("{}: {error}", program.display()));
        let program = fs::canonicalize(&program).map_err(absent)?;
        let absolute = |folder: &PathBuf| std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let metadata = fs::metadata(&program).map_err(absent)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            data: options.data.iter().map(absolute).collect(),
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            boot: boot.trim().to_owned(),
            program,
        })
    }

    fn data_options(&self) -> Vec<String> {
        self.data.iter().flat_map(|folder| ["-L".to_owned(), folder.display().to_string()]).collect()
    }

    fn output(&self, arguments: &[&str]) -> Result<String, EngineError> {
        let output = Command::new(&self.program)
            .args(self.data_options())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(EngineError::at("run", &self.program))?;
        if !output.status.success() {
            let reason = format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
            return Err(unusable(&self.program, reason));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn not_found(reason: String) -> EngineError {
    let remedy = "install it (Debian: qemu-system-x86) or set SPORE_QEMU";
    EngineError::NotFound { engine: "QEMU", reason, remedy }
}

fn unusable(program: &Path, reason: String) -> EngineError {
    EngineError::Unusable { program: program.to_owned(), reason, needed: "QEMU 7.2 or later" }
}

fn read(cache: &Path) -> Option<Found> {
    serde_json::from_slice(&fs::read(cache).ok()?).ok()
}

fn on_path() -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(PROGRAM)).find(executable)
}

fn first_word(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().next()
}
