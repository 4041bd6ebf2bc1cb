//! Which packages a tree is made of, and under which licences.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::Error;
use crate::error::IoContext;

/// The largest list of packages that is read, in bytes.
const MAX_LIST: u64 = 64 << 20;
/// How much of a copyright file is read, in bytes.
const MAX_COPYRIGHT: u64 = 1 << 20;
/// At most so many licences are kept of one package, each at most so many bytes long.
const MAX_LICENSES: usize = 32;
const MAX_LICENSE: usize = 80;

/// A package that a base holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Package {
    /// The binary package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The source package's name.
    pub source: String,
    /// The source package's version: a rebuilt binary package has another.
    pub source_version: String,
    /// Short names of licences, sorted, if the package's copyright file tells them; else `see copyright`.
    pub licenses: Vec<String>,
}

/// Stands for licences that only people can read out of the package's copyright file.
const SEE_COPYRIGHT: &str = "see copyright";

/// The packages that `list` (paragraphs as in dpkg's status file) names, sorted, with the licences that
/// `tree` documents.
pub(super) fn read(list: &Path, tree: &Path) -> Result<Vec<Package>, Error> {
    let file = File::open(list).io("open", list)?;
    let mut text = String::new();
    file.take(MAX_LIST).read_to_string(&mut text).io("read", list)?;
    let mut packages: Vec<_> = text.split("\n\n").filter_map(parse).collect();
    for package in &mut packages {
        package.licenses = licenses_of(&package.name, tree)?;
    }
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn parse(paragraph: &str) -> Option<Package> {
    let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
        return None;
    }
    let name =
        field("Package").filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))?;
    let version = field("Version")?.to_owned();
    // "Source: glibc (2.36-9)" has a version where it differs from the binary's; there is none where all is alike.
    let (source, source_version) = match field("Source").map(|source| source.split_once(" (")) {
        Some(Some((source, rest))) => (source.to_owned(), rest.trim_end_matches(')').to_owned()),
        Some(None) => (field("Source")?.to_owned(), version.clone()),
        None => (name.to_owned(), version.clone()),
    };
    Some(Package { name: name.to_owned(), version, source, source_version, licenses: Vec::new() })
}

/// The licences of the package `name`, as `tree` documents them.
pub(crate) fn licenses_of(name: &str, tree: &Path) -> Result<Vec<String>, Error> {
    let root = File::open(tree).io("open", tree)?;
    let told = read_start(&root, &format!("usr/share/doc/{name}/copyright"));
    let told = told.map(|text| licenses(&text)).unwrap_or_default();
    Ok(if told.is_empty() { vec![SEE_COPYRIGHT.to_owned()] } else { told })
}

/// The start of a regular file of a tree. Links are followed as they would be if the tree were the root: packages share
/// documentation by them, and none leads to what is the host's.
fn read_start(root: &File, path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let file = File::from(file);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_COPYRIGHT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The `License:` fields of a machine-readable copyright file (DEP-5); of another the common licences of
/// Debian that it refers to.
fn licenses(copyright: &str) -> Vec<String> {
    let is_machine_readable = copyright.lines().take(20).any(|line| line.starts_with("Format:"));
    let found: BTreeSet<_> = if is_machine_readable {
        copyright.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim).collect()
    } else {
        let after = copyright.split("/usr/share/common-licenses/").skip(1);
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        let name = |rest: &'_ str| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        after.filter_map(|rest| rest.get(..name(rest))).map(|name| name.trim_end_matches('.')).collect()
    };
    let fits = |name: &&str| !name.is_empty() && name.len() <= MAX_LICENSE;
    found.into_iter().filter(fits).take(MAX_LICENSES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn status_paragraphs() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("status");
        let status = "Package: zlib1g\nStatus: install ok installed\nSource: zlib (1:1)\nVersion: 1:1+b1\n\n\
                      Package: grep\nSource: grep (3)\nVersion: 3+b1\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: ../x\nVersion: 1\n\nPackage: bash\nVersion: 5\n Version: 6\n";
        std::fs::write(&list, status).unwrap();
        let doc = folder.path().join("usr/share/doc/bash");
        std::fs::create_dir_all(&doc).unwrap();
        std::fs::write(doc.join("copyright"), "Format: https://x\nLicense: MIT\n text\nLicense: GPL-3+\n")
            .unwrap();
        // Documentation of another package, by a link that is right in the tree only; and one that leads out of it.
        symlink("/usr/share/doc/bash", folder.path().join("usr/share/doc/zlib1g")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("copyright"), "Format: https://x\nLicense: Foreign\n").unwrap();
        symlink(outside.path(), folder.path().join("usr/share/doc/grep")).unwrap();
        let found = read(&list, folder.path()).unwrap();
        let texts: Vec<_> = found
            .iter()
            .map(|p| [p.name.as_str(), p.version.as_str(), p.source.as_str(), p.source_version.as_str()])
            .collect();
        let expected =
            [["bash", "5", "bash", "5"], ["grep", "3+b1", "grep", "3"], ["zlib1g", "1:1+b1", "zlib", "1:1"]];
        assert_eq!(texts, expected);
        let licenses: Vec<_> = found.iter().map(|package| package.licenses.join(" ")).collect();
        assert_eq!(licenses, ["GPL-3+ MIT", "see copyright", "GPL-3+ MIT"]);
    }

    #[test]
    fn prose_names_common_licenses() {
        let prose = "License: see below.\nOn Debian: /usr/share/common-licenses/GPL-2.\n\
                     And `/usr/share/common-licenses/LGPL-2.1'; /usr/share/common-licenses/";
        assert_eq!(licenses(prose), ["GPL-2", "LGPL-2.1"]);
    }
}
