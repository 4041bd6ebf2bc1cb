//! The layer of a recipe's added files.
//!
//! In an overlay the uppermost folder decides how a folder looks, and it hides a symbolic link below it. So
//! every folder on the way to an added file is looked up in the layers below: it is given their permissions
//! and owner (`/tmp` stays writable to all), and where they have a link (`/bin` to `/usr/bin`) or a file
//! the recipe is refused, since all that is behind the link would vanish.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::erofs::{Entry, FILE_TIME, OPTIONS};
use crate::error::IoContext;
use crate::recipe::{FileEntry, Mode, Owner};
use crate::tools::Tool;
use crate::tree_hash::sorted_names;
use crate::{Error, erofs, namespace};

/// Gives files to their owners, then makes the image. `$1` tree, `$2` folder with one list of NUL-terminated
/// paths per owner, named `UID:GID`; the rest is for mkfs.erofs.
const WRITE_OWNED: &str = r#"tree=$1 lists=$2
shift 2
cd "$tree"
for list in "$lists"/*; do xargs -0 chown -h -- "${list##*/}" <"$list"; done
cd /
mkfs.erofs "$@" "$tree"
"#;

/// The added files, laid out in a folder.
pub(crate) struct FilesLayer<'a> {
    /// The images below, lowest first.
    lower: &'a [PathBuf],
    tree: PathBuf,
    owners: PathBuf,
    /// What was laid out, by guest path without the leading slash.
    staged: BTreeMap<PathBuf, Staged>,
}

struct Staged {
    owner: Owner,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    File,
    /// Its permissions are set last, so that they cannot be in our own way.
    Folder {
        mode: u32,
        in_base: bool,
    },
}

impl<'a> FilesLayer<'a> {
    /// Lays the files out in `work`, an empty folder.
    pub(crate) fn stage(entries: &[FileEntry], lower: &'a [PathBuf], work: &Path) -> Result<Self, Error> {
        let (tree, owners) = (work.join("tree"), work.join("owners"));
        for folder in [&tree, &owners] {
            fs::create_dir(folder).io("make", folder)?;
        }
        let mut layer = Self { lower, tree, owners, staged: BTreeMap::new() };
        for entry in entries {
            let target = Path::new(entry.destination.below_root());
            layer.add(entry.source.absolute(), target, entry.mode, entry.owner)?;
        }
        layer.set_folder_modes()?;
        Ok(layer)
    }

    fn add(&mut self, source: &Path, target: &Path, mode: Option<Mode>, owner: Owner) -> Result<(), Error> {
        let on_the_way: Vec<_> = target.ancestors().skip(1).collect();
        for folder in on_the_way.into_iter().rev() {
            self.folder(folder, Owner::default())?;
        }
        let meta = source.symlink_metadata().io("read", source)?;
        if meta.is_dir() {
            self.folder(target, owner)?;
            for name in sorted_names(source)? {
                self.add(&source.join(&name), &target.join(&name), mode, owner)?;
            }
            return Ok(());
        }
        self.claim_file(target, owner)?;
        let copy = self.tree.join(target);
        if meta.is_symlink() {
            let link = fs::read_link(source).io("read", source)?;
            symlink(link, &copy).io("write", &copy)
        } else if meta.is_file() {
            let default = if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            fs::copy(source, &copy).io("copy", source)?;
            let mode = mode.map_or(default, Mode::bits);
            fs::set_permissions(&copy, Permissions::from_mode(mode)).io("set the permissions of", &copy)
        } else {
            let problem = "is neither a file, a folder nor a symbolic link";
            Err(Error::AddedFile { path: source.display().to_string(), problem })
        }
    }

    /// Makes a folder, as the layers below have it or, if they have none, readable to all and `owner`'s.
    fn folder(&mut self, path: &Path, owner: Owner) -> Result<(), Error> {
        if let Some(staged) = self.staged.get(path) {
            return match staged.kind {
                Kind::Folder { .. } => Ok(()),
                Kind::File => Err(added(path, "is added both as a file and as a folder")),
            };
        }
        let staged = match self.in_base(path)? {
            Some(Entry::Folder { mode, uid, gid }) => {
                Staged { owner: Owner { uid, gid }, kind: Kind::Folder { mode, in_base: true } }
            }
            Some(Entry::Other(found)) => return Err(Error::NotAFolder { path: guest(path), found }),
            None => Staged { owner, kind: Kind::Folder { mode: 0o755, in_base: false } },
        };
        if path != Path::new("") {
            let made = self.tree.join(path);
            fs::create_dir(&made).io("make", &made)?;
        }
        self.staged.insert(path.to_owned(), staged);
        Ok(())
    }

    fn claim_file(&mut self, path: &Path, owner: Owner) -> Result<(), Error> {
        if matches!(self.in_base(path)?, Some(Entry::Folder { .. })) {
            return Err(added(path, "is a folder in the base, which a file would hide"));
        }
        match self.staged.entry(path.to_owned()) {
            Slot::Occupied(_) => Err(added(path, "is added twice")),
            Slot::Vacant(slot) => {
                slot.insert(Staged { owner, kind: Kind::File });
                Ok(())
            }
        }
    }

    /// What the uppermost layer that has `path` has there. Its parents are staged, so links on the way are
    /// out of the question.
    fn in_base(&self, path: &Path) -> Result<Option<Entry>, Error> {
        let parent = path.parent().and_then(|parent| self.staged.get(parent));
        if matches!(parent, Some(Staged { kind: Kind::Folder { in_base: false, .. }, .. })) {
            return Ok(None);
        }
        let path = guest(path);
        self.lower.iter().rev().find_map(|image| erofs::look_up(image, &path).transpose()).transpose()
    }

    fn set_folder_modes(&self) -> Result<(), Error> {
        for (path, staged) in self.staged.iter().rev() {
            if let Kind::Folder { mode, .. } = staged.kind {
                let path = self.tree.join(path);
                fs::set_permissions(&path, Permissions::from_mode(mode))
                    .io("set the permissions of", &path)?;
            }
        }
        Ok(())
    }

    /// Makes the image. Only if something is not root's does an ordinary user need subordinate ids for it.
    pub(crate) fn write(&self, image: &Path) -> Result<(), Error> {
        let act = "making the layer of added files";
        let time = format!("-T{FILE_TIME}");
        let mut lists: BTreeMap<Owner, Vec<u8>> = BTreeMap::new();
        for (path, staged) in self.staged.iter().filter(|(_, staged)| staged.owner != Owner::default()) {
            let list = lists.entry(staged.owner).or_default();
            list.extend_from_slice(b"./");
            list.extend_from_slice(path.as_os_str().as_bytes());
            list.push(0);
        }
        if lists.is_empty() {
            let run = Run::new(Tool::MkfsErofs, act)?.args(OPTIONS).args(["--all-root", &time]);
            return run.arg(image).arg(&self.tree).finish();
        }
        for (owner, list) in lists {
            let file = self.owners.join(owner.to_string());
            fs::write(&file, list).io("write", &file)?;
        }
        let run = namespace::script(act, WRITE_OWNED, [&self.tree, &self.owners])?;
        run.args(OPTIONS).arg(time).arg(image).finish()
    }
}

fn guest(path: &Path) -> String {
    format!("/{}", path.display())
}

fn added(path: &Path, problem: &'static str) -> Error {
    Error::AddedFile { path: guest(path), problem }
}
