//! The programs that are used, with the lowest versions that work and where Debian has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::Error;

/// Where programs are looked for. Ordinary users have no `sbin` in theirs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Mmdebstrap,
    Tar,
    Unshare,
    Newuidmap,
    AptGet,
    AptCache,
    DpkgDeb,
    MkfsExt4,
    Xz,
    Gzip,
}

/// What is known of a program before it is looked for.
struct Facts {
    program: &'static str,
    /// The argument that makes it say its version, if it has one.
    version: Option<&'static str>,
    /// The lowest version that works.
    needed: Option<&'static str>,
    package: &'static str,
    purpose: &'static str,
}

/// Whether a program that Spore uses is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolStatus {
    /// The program.
    pub program: &'static str,
    /// Where it was found.
    pub path: Option<PathBuf>,
    /// The version it says it is, if it was found and says one.
    pub version: Option<String>,
    /// The lowest version that works, if it matters.
    pub needed: Option<&'static str>,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// Whether it was found and is new enough.
    pub usable: bool,
}

/// Looks for every program that this crate uses, whatever was found before: one may have been installed since.
#[must_use]
pub fn tools() -> Vec<ToolStatus> {
    Tool::ALL.into_iter().map(Tool::look).collect()
}

impl Tool {
    const ALL: [Self; 10] = [
        Self::Mmdebstrap,
        Self::Tar,
        Self::Unshare,
        Self::Newuidmap,
        Self::AptGet,
        Self::AptCache,
        Self::DpkgDeb,
        Self::MkfsExt4,
        Self::Xz,
        Self::Gzip,
    ];

    const fn facts(self) -> Facts {
        const fn facts(
            program: &'static str,
            version: Option<&'static str>,
            needed: Option<&'static str>,
            package: &'static str,
            purpose: &'static str,
        ) -> Facts {
            Facts { program, version, needed, package, purpose }
        }
        let long = Some("--version");
        match self {
            Self::Mmdebstrap => facts("mmdebstrap", long, Some("1.3"), "mmdebstrap", "Debian bases"),
            Self::Tar => facts("tar", long, Some("1.29"), "tar", "Debian bases"),
            Self::Unshare => facts("unshare", long, Some("2.38"), "util-linux", "Debian bases"),
            Self::Newuidmap => facts("newuidmap", None, None, "uidmap", "Debian bases without root"),
            Self::AptGet => facts("apt-get", long, Some("2.2"), "apt", "fetching kernels"),
            Self::AptCache => facts("apt-cache", long, Some("2.2"), "apt", "fetching kernels"),
            Self::DpkgDeb => facts("dpkg-deb", long, None, "dpkg", "fetching kernels"),
            Self::MkfsExt4 => facts("mkfs.ext4", Some("-V"), Some("1.46"), "e2fsprogs", "writable disks"),
            Self::Xz => facts("xz", long, None, "xz-utils", "kernels with .ko.xz modules"),
            Self::Gzip => facts("gzip", long, None, "gzip", "kernels with .ko.gz modules"),
        }
    }

    pub(crate) const fn program(self) -> &'static str {
        self.facts().program
    }

    fn find(self) -> Option<PathBuf> {
        PATH.split(':').map(|folder| PathBuf::from(folder).join(self.program())).find(|path| path.is_file())
    }

    /// Where the program is, if it is there and new enough.
    pub(crate) fn checked_path(self) -> Result<PathBuf, Error> {
        let Facts { program, package, needed, .. } = self.facts();
        let status = self.status();
        let path = status.path.ok_or(Error::ToolMissing { program, package })?;
        match needed {
            Some(needed) if !status.usable => {
                let found = status.version.unwrap_or_else(|| "unknown".to_owned());
                Err(Error::ToolTooOld { program, found, needed, package })
            }
            _ => Ok(path),
        }
    }

    /// The version the program says it is, if it is there.
    pub(crate) fn version(self) -> Option<String> {
        self.status().version
    }

    /// Looked for once: some are run many times, and one of them takes a while to say its version.
    fn status(self) -> ToolStatus {
        static FOUND: Mutex<BTreeMap<&str, ToolStatus>> = Mutex::new(BTreeMap::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found.entry(self.program()).or_insert_with(|| self.look()).clone()
    }

    fn look(self) -> ToolStatus {
        let Facts { program, version, needed, package, purpose } = self.facts();
        let path = self.find();
        let version = path.as_ref().zip(version).and_then(|(path, argument)| ask_version(path, argument));
        let new_enough = |needed| version.as_deref().is_some_and(|found| numbers(found) >= numbers(needed));
        let usable = path.is_some() && needed.is_none_or(new_enough);
        ToolStatus { program, path, version, needed, package, purpose, usable }
    }
}

fn ask_version(path: &Path, argument: &str) -> Option<String> {
    let output = Command::new(path).arg(argument).stdin(Stdio::null()).env_clear().output().ok()?;
    // mke2fs says it on its standard error.
    let text = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&text))
}

/// The first word that starts with a digit, which all of the programs say first.
fn version_in(text: &str) -> Option<String> {
    let word = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_programs_say_them() {
        for (text, version) in [
            ("tar (GNU tar) 1.34\n", "1.34"),
            ("unshare from util-linux 2.38.1\n", "2.38.1"),
            ("mke2fs 1.47.0 (5-Feb-2023)\n", "1.47.0"),
            ("apt 2.6.1 (amd64)\n", "2.6.1"),
            ("Debian 'dpkg-deb' package archive backend version 1.21.22 (amd64).\n", "1.21.22"),
            ("xz (XZ Utils) 5.4.1\nliblzma 5.4.1\n", "5.4.1"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
        assert!(numbers("1.10") > numbers("1.5"));
        assert!(numbers("2.38.1") >= numbers("2.38"));
        assert!(numbers("1.4") < numbers("1.5"));
    }
}
