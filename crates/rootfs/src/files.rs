//! The layer of a recipe's added files.
//!
//! In an overlay the uppermost folder decides how a folder looks, and it hides a symbolic link below it. So every folder on the way
//! to an added file is looked up in what the layers below are together: it looks as there (`/tmp` stays writable to all), and
//! where they have a link (`/bin` to `/usr/bin`) or a file the recipe is refused, since all that is behind the link would vanish.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;

use crate::archive::EntryName;
use crate::error::IoContext;
use crate::recipe::{FileEntry, Mode, Owner};
use crate::stack::Stack;
use crate::tree::{Attributes, Content, Folder, Node, Other, memory_of_folder, memory_of_name};
use crate::tree_hash::sorted_names;
use crate::{Error, host};

/// Reads the files as a layer for the top of a stack.
pub(crate) fn layer(entries: &[FileEntry], stack: &mut Stack<'_>) -> Result<Folder, Error> {
    let mut root = Folder::new();
    for entry in entries {
        let target: Vec<EntryName> = entry
            .destination
            .below_root()
            .split('/')
            .filter(|name| !name.is_empty())
            .map(|name| name.as_bytes().into())
            .collect();
        Addition { mode: entry.mode, owner: entry.owner }.add(
            entry.source.absolute(),
            &target,
            &mut root,
            stack,
        )?;
    }
    Ok(root)
}

/// How what one entry of the recipe adds looks.
struct Addition {
    mode: Option<Mode>,
    owner: Owner,
}

impl Addition {
    fn add(
        &self,
        source: &Path,
        target: &[EntryName],
        root: &mut Folder,
        stack: &mut Stack<'_>,
    ) -> Result<(), Error> {
        let meta = source.symlink_metadata().io("read", source)?;
        if meta.is_dir() {
            folder(root, target, self.owner, stack)?;
            for name in sorted_names(source)? {
                let target: Vec<_> = target.iter().cloned().chain([name.as_bytes().into()]).collect();
                self.add(&source.join(&name), &target, root, stack)?;
            }
            return Ok(());
        }
        if !meta.is_symlink() && !meta.is_file() {
            let problem = "is neither a file, a folder nor a symbolic link";
            return Err(Error::AddedFile { path: source.display().to_string(), problem });
        }
        let Some((name, on_the_way)) = target.split_last() else {
            return Err(added(target, "is the root and no folder"));
        };
        let default = if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let mode = self.mode.map_or(default, Mode::bits);
        let content = host::content(source, &meta, stack)?;
        let other = Other { attributes: owned(mode, self.owner), content };
        stack.take(source, memory_of_name(name) + other.memory())?;
        let parent = folder(root, on_the_way, Owner::default(), stack)?;
        if matches!(parent.below.and_then(|below| below.entries.get(name)), Some(Node::Folder(_))) {
            return Err(added(target, "is a folder in the base, which a file would hide"));
        }
        if parent.layer.entries.insert(name.clone(), Node::Other(Rc::new(other))).is_some() {
            return Err(added(target, "is added twice"));
        }
        Ok(())
    }
}

/// A folder of the layer, and what the layers below have in it.
struct Place<'a> {
    layer: &'a mut Folder,
    below: Option<&'a Folder>,
}

/// The folder at a path, made as the layers below have it or, if they have none, readable to all; the last one is then `owner`'s.
fn folder<'a>(
    root: &'a mut Folder,
    path: &[EntryName],
    owner: Owner,
    stack: &'a mut Stack<'_>,
) -> Result<Place<'a>, Error> {
    let memory = path.iter().map(|name| memory_of_folder(name)).sum();
    stack.take(Path::new("the added files"), memory)?;
    let mut place = Place { layer: root, below: Some(&stack.below) };
    for (depth, name) in (1..).zip(path) {
        let there = place.below.and_then(|below| below.entries.get(name));
        let below = match there {
            Some(Node::Other(other)) => {
                let path = shown(path.get(..depth).unwrap_or(path));
                return Err(Error::NotAFolder { path, found: what_it_is(&other.content) });
            }
            Some(Node::Folder(there)) => Some(&**there),
            None => None,
        };
        let owner = if depth == path.len() { owner } else { Owner::default() };
        let node = place.layer.entries.entry(name.clone()).or_insert_with(|| {
            let mut new = Folder::new();
            if below.is_none() {
                new.describe(owned(0o755, owner));
            }
            Node::Folder(Box::new(new))
        });
        let Node::Folder(layer) = node else {
            let problem = "is added both as a file and as a folder";
            return Err(added(path.get(..depth).unwrap_or(path), problem));
        };
        place = Place { layer, below };
    }
    Ok(place)
}

fn owned(mode: u32, owner: Owner) -> Attributes {
    let mode = u16::try_from(mode & 0o7777).unwrap_or_default();
    Attributes { uid: owner.uid, gid: owner.gid, ..Attributes::of_root(mode) }
}

fn what_it_is(content: &Content) -> &'static str {
    match content {
        Content::Symlink(_) => "symbolic link",
        Content::File { .. } => "file",
        Content::Special(_) => "special file",
    }
}

fn shown(path: &[EntryName]) -> String {
    path.iter().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect()
}

fn added(path: &[EntryName], problem: &'static str) -> Error {
    Error::AddedFile { path: shown(path), problem }
}
