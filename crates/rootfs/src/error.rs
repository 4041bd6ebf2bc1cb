//! Why a base, kernel, initrd or disk could not be made.

use std::path::{Path, PathBuf};

use crate::{ArchiveError, ImageError};

/// What failed, on what, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("{program} was not found: install Debian's package {package}")]
    ToolMissing {
        /// The program that is missing.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program is installed but too old.
    #[error("{program} is version {found}, at least {needed} is needed: upgrade Debian's package {package}")]
    ToolTooOld {
        /// The program.
        program: &'static str,
        /// The version it says it is.
        found: String,
        /// The lowest version that works.
        needed: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program ran and failed.
    #[error("{program} failed ({status}) while {act}{}", indented(output))]
    ToolFailed {
        /// The program.
        program: &'static str,
        /// What it was run for.
        act: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error.
        output: String,
    },
    /// A program succeeded but did not say what it should.
    #[error("{program} gave an unexpected answer while {act}: {answer:?}")]
    ToolAnswer {
        /// The program.
        program: &'static str,
        /// What it was run for.
        act: String,
        /// The start of what it said.
        answer: String,
    },
    /// This user cannot make a namespace in which it is root.
    #[error(
        "user {user} can't make a user namespace: {reason}; bake as root, or see `spore doctor` for what forbids it"
    )]
    NoUserNamespaces {
        /// The user's name, or number where it has no name.
        user: String,
        /// What was tried and what it said.
        reason: String,
    },
    /// This user cannot make files that belong to other users.
    #[error(
        "user {user} has a range of {found} subordinate ids in /etc/subuid and /etc/subgid and needs 65536: ask an \
         administrator for a free one, such as by `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`"
    )]
    NoSubordinateIds {
        /// The user's name, or number where it has no name.
        user: String,
        /// The longest range that it has in both.
        found: u64,
    },
    /// An added file would replace a symbolic link or a file of the base by a folder.
    #[error("{path} is a folder of the recipe's files but a {found} in the base: use the folder's real path")]
    NotAFolder {
        /// The path in the guest.
        path: String,
        /// What the base has there.
        found: &'static str,
    },
    /// The recipe adds two different things at one place, or something that is no file.
    #[error("{path} of the recipe's files {problem}")]
    AddedFile {
        /// The path in the guest or in the recipe folder.
        path: String,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A container image cannot be a base.
    #[error("image {image}: {source}")]
    Image {
        /// The image, as the recipe says it.
        image: String,
        /// What is wrong with it.
        source: Box<ImageError>,
    },
    /// A tar archive cannot be a base.
    #[error("base {}: {source}", path.display())]
    Tar {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ArchiveError>,
    },
    /// The file given as a kernel is not one.
    #[error("{path} is not a Linux x86 boot image (bzImage): {reason}", path = path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A driver that the guest cannot do without is nowhere.
    #[error("kernel {kernel} has no driver {module}, neither built in nor below {folder}")]
    ModuleMissing {
        /// The kernel's version.
        kernel: String,
        /// The module's name.
        module: String,
        /// Where modules were looked for.
        folder: String,
    },
    /// A module file is damaged.
    #[error("{path} is not a kernel module: {reason}", path = path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something is larger than what is reasonable.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The environment holds a mirror that is not one.
    #[error("{variable} is {value:?}: expected a URL like http://deb.debian.org/debian")]
    MirrorVariable {
        /// The environment variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// A file could not be read or written.
    #[error("cannot {act} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

fn indented(output: &str) -> String {
    let output = output.trim_end();
    if output.is_empty() { String::new() } else { format!(":\n  {}", output.replace('\n', "\n  ")) }
}

/// Names the act and the file of an input/output error.
pub(crate) trait IoContext<T> {
    fn io(self, act: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> IoContext<T> for Result<T, E> {
    fn io(self, act: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io { act, path: path.to_owned(), source: error.into() })
    }
}
