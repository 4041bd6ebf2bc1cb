//! EROFS images: plain, without compression, the same bytes for the same tree.
//!
//! mkfs.erofs sorts entries itself, so the order in which the host's filesystem lists them does not matter.
//! Extended inodes hold each file's own time. With `SOURCE_DATE_EPOCH` the image's own time is fixed and
//! later times of files are set back to it; `-T` would overwrite all of them, which makes each `.pyc` stale.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use format::{Digest, Hasher};

use crate::Error;
use crate::command::Run;
use crate::error::IoContext;
use crate::tools::Tool;

/// Options of every image. Images are told apart by their digest, so the identifier is the same in all.
pub(crate) const OPTIONS: [&str; 4] =
    ["--quiet", "-Eforce-inode-extended", "-U5b0e0000-0000-4000-8000-65726f667300", "-x1"];

/// The time of every file that comes from a recipe's folder, where times are those of a checkout:
/// 2023-01-01 00:00:00 UTC.
pub(crate) const FILE_TIME: i64 = 1_672_531_200;

/// Makes an image of a folder of the recipe: everything belongs to root and has [`FILE_TIME`].
pub(crate) fn from_recipe_folder(folder: &Path, image: &Path) -> Result<(), Error> {
    Run::new(Tool::MkfsErofs, format!("making a layer of {}", folder.display()))?
        .args(OPTIONS)
        .arg("--all-root")
        .arg(format!("-T{FILE_TIME}"))
        .arg(image)
        .arg(folder)
        .finish()
}

/// What an image has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A folder, with its permission bits and owner.
    Folder { mode: u32, uid: u32, gid: u32 },
    /// Something else, as `dump.erofs` calls it: "symlink file", "regular file".
    Other(String),
}

/// Looks `path` (absolute) up in an image. Symbolic links are not followed.
pub(crate) fn look_up(image: &Path, path: &str) -> Result<Option<Entry>, Error> {
    let act = format!("looking for {path} in a layer");
    let answer = Run::new(Tool::DumpErofs, act.as_str())?.arg(format!("--path={path}")).arg(image).answer()?;
    let answer = String::from_utf8_lossy(&answer);
    if !answer.contains("File : ") {
        return Ok(None);
    }
    let unexpected = || Error::ToolAnswer {
        program: Tool::DumpErofs.program(),
        act,
        answer: answer.chars().take(400).collect(),
    };
    parse_entry(&answer).map(Some).ok_or_else(unexpected)
}

/// Reads the lines `Size: … On-disk size: …  directory` and `Uid: 0   Gid: 0  Access: 0755/rwxr-xr-x`.
fn parse_entry(answer: &str) -> Option<Entry> {
    let kind = answer.lines().find(|line| line.starts_with("Size: "))?.rsplit("  ").next()?.trim();
    if kind != "directory" {
        return Some(Entry::Other(kind.to_owned()));
    }
    let line = answer.lines().find(|line| line.starts_with("Uid: "))?;
    let field = |name: &str| line.split_once(name)?.1.split_whitespace().next();
    Some(Entry::Folder {
        uid: field("Uid: ")?.parse().ok()?,
        gid: field("Gid: ")?.parse().ok()?,
        mode: u32::from_str_radix(field("Access: ")?.split('/').next()?, 8).ok()?,
    })
}

/// The digest and size of a file.
pub(crate) fn digest(path: &Path) -> Result<(Digest, u64), Error> {
    let mut file = File::open(path).io("open", path)?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).io("read", path)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += bytes.len() as u64;
    }
    Ok((hasher.finish(), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_dump_erofs_prints_them() {
        let answer = |kind: &str, access: &str| {
            format!(
                "File : /tmp\nSize: 27  On-disk size: 27  {kind}\nNID: 36   Links: 2   Layout: 2   Compression \
                 ratio: 100.00%\nInode size: 64   Extent size: 0   Xattr size: 0\nUid: 6   Gid: 33  Access: \
                 {access}\nTimestamp: 1970-01-01 00:03:20.000000000\n"
            )
        };
        assert_eq!(
            parse_entry(&answer("directory", "1777/rwxrwxrwt")),
            Some(Entry::Folder { mode: 0o1777, uid: 6, gid: 33 })
        );
        assert_eq!(
            parse_entry(&answer("symlink file", "0777/rwxrwxrwx")),
            Some(Entry::Other("symlink file".to_owned()))
        );
        assert_eq!(parse_entry("File : /x\n"), None);
    }
}
