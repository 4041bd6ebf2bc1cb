//! Layers on top of one another, as overlayfs shows them.

use super::{Allowance, Content, Folder, LayerError, Node, allowance};
use crate::archive::EntryName;

/// Most symbolic links that one path leads through: what Linux follows.
const MAX_LINKS: usize = 40;
/// Most names that are looked at on the way.
const MAX_STEPS: usize = 1024;
/// Most folders that lie in one another; trees are walked by recursion.
const MAX_DEPTH: usize = 256;
/// Most folders of one layer that are symbolic links in a layer below.
const MAX_FOLLOWED: usize = 1000;

/// Completes a layer by what lies below it: a folder that is only mentioned on the way to something else looks as it does there.
///
/// In an overlay such a folder would hide a symbolic link below it, and with it all that is behind the link. What it holds is
/// put behind the link instead, as containerd does.
pub(crate) fn settle(
    layer: &mut Folder,
    below: &Folder,
    allowance: &mut Allowance,
) -> Result<(), LayerError> {
    follow_links(layer, below, allowance)?;
    // overlayfs does not ask whether a root is opaque, so that one hides by name.
    if std::mem::take(&mut layer.is_opaque) {
        allowance.take_memory(below.entries.keys().map(|name| allowance::name(name)).sum())?;
        layer.hidden.extend(below.entries.keys().cloned());
    }
    inherit(layer, Some(below));
    Ok(())
}

/// Where a path leads in a tree, through its symbolic links, of which none leads out of it. What is not there is taken for folders
/// to be made. The error is the end of a sentence.
pub(crate) fn resolve(tree: &Folder, path: &[EntryName]) -> Result<Vec<EntryName>, &'static str> {
    let mut rest: Vec<EntryName> = path.iter().rev().cloned().collect();
    let mut found: Vec<EntryName> = Vec::new();
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = rest.pop() {
        steps += 1;
        if steps > MAX_STEPS || found.len() >= MAX_DEPTH {
            return Err("leads too far through symbolic links of layers below");
        }
        if *name == *b".." {
            found.pop();
            continue;
        }
        let Some(other) = tree.other(&found, &name) else {
            found.push(name);
            continue;
        };
        let Content::Symlink(target) = &other.content else {
            return Err("leads through something that is no folder in a layer below");
        };
        links += 1;
        if links > MAX_LINKS {
            return Err("leads through more than 40 symbolic links of layers below");
        }
        if target.starts_with(b"/") {
            found.clear();
        }
        let names = target.split(|byte| *byte == b'/').rev();
        rest.extend(names.filter(|name| !matches!(*name, b"" | b".")).map(EntryName::from));
    }
    Ok(found)
}

/// Puts what is in folders that are only mentioned, and symbolic links below, to where those lead.
fn follow_links(layer: &mut Folder, below: &Folder, allowance: &mut Allowance) -> Result<(), LayerError> {
    let mut followed = 0;
    loop {
        let mut taken = Vec::new();
        take_links(layer, below, &mut Vec::new(), &mut taken)?;
        if taken.is_empty() {
            return Ok(());
        }
        followed += taken.len();
        if followed > MAX_FOLLOWED {
            let what = "folders that are symbolic links in layers below";
            return Err(LayerError::TooMuch { what, limit: MAX_FOLLOWED as u64 });
        }
        for (path, folder) in taken {
            let refused = |reason| LayerError::entry(&path, reason);
            let target = resolve(below, &path).map_err(refused)?;
            let new = layer.missing(&target).iter().map(|name| allowance::folder(name)).sum();
            allowance.take_memory(new)?;
            layer.at(&target).map_err(refused)?.unite(folder);
        }
    }
}

/// Takes such folders out of a layer.
fn take_links(
    layer: &mut Folder,
    below: &Folder,
    path: &mut Vec<EntryName>,
    taken: &mut Vec<(Vec<EntryName>, Folder)>,
) -> Result<(), LayerError> {
    if layer.is_opaque {
        return Ok(());
    }
    let mut links = Vec::new();
    for (name, node) in &mut layer.entries {
        let there = below.entries.get(name).filter(|_| !layer.hidden.contains(name));
        let (Node::Folder(folder), Some(there)) = (node, there) else { continue };
        path.push(name.clone());
        match there {
            Node::Folder(there) => take_links(folder, there, path, taken)?,
            Node::Other(_) if folder.is_explicit => {}
            Node::Other(other) => match other.content {
                Content::Symlink(_) => links.push(name.clone()),
                _ => {
                    let reason = "is a folder without an entry, and no folder in a layer below";
                    return Err(LayerError::entry(path, reason));
                }
            },
        }
        path.pop();
    }
    for name in links {
        let Some(Node::Folder(folder)) = layer.entries.remove(&name) else { continue };
        taken.push((path.iter().cloned().chain([name]).collect(), *folder));
    }
    Ok(())
}

fn inherit(layer: &mut Folder, below: Option<&Folder>) {
    if let Some(below) = below.filter(|_| !layer.is_explicit) {
        layer.attributes = below.attributes.clone();
    }
    let below = below.filter(|_| !layer.is_opaque);
    for (name, node) in &mut layer.entries {
        let Node::Folder(folder) = node else { continue };
        let there = below.filter(|_| !layer.hidden.contains(name)).and_then(|below| below.entries.get(name));
        let there = if let Some(Node::Folder(there)) = there { Some(&**there) } else { None };
        inherit(folder, there);
    }
}

impl Folder {
    /// Takes up what another path of the same layer has for this folder. What both name is here already.
    fn unite(&mut self, other: Self) {
        self.is_opaque |= other.is_opaque;
        self.hidden.extend(other.hidden);
        for (name, node) in other.entries {
            match (self.entries.get_mut(&name), node) {
                (None, node) => {
                    self.entries.insert(name, node);
                }
                (Some(Node::Folder(here)), Node::Folder(other)) => {
                    if !here.is_explicit && other.is_explicit {
                        here.describe(other.attributes.clone());
                    }
                    here.unite(*other);
                }
                (Some(_), _) => {}
            }
        }
    }

    /// Puts a layer on top of what is here.
    pub(crate) fn cover(&mut self, upper: Self) {
        self.attributes = upper.attributes;
        self.is_explicit |= upper.is_explicit;
        if upper.is_opaque {
            self.entries.clear();
        }
        for name in &upper.hidden {
            self.entries.remove(name);
        }
        for (name, node) in upper.entries {
            match (self.entries.get_mut(&name), node) {
                (Some(Node::Folder(lower)), Node::Folder(upper)) => lower.cover(*upper),
                (_, Node::Folder(upper)) => {
                    // What is alone hides nothing.
                    let mut folder = Self::new();
                    folder.cover(*upper);
                    self.entries.insert(name, Node::Folder(Box::new(folder)));
                }
                (_, other) => {
                    self.entries.insert(name, other);
                }
            }
        }
    }

    /// Whether a folder in this one hides what layers below have in it.
    pub(crate) fn hides_below(&self, name: &[u8], folder: &Self) -> bool {
        folder.is_opaque || self.hidden.contains(name)
    }
}
