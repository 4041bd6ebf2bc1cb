//! Layers on top of one another, as overlayfs shows them.

use super::{Content, Folder, Node};
use crate::archive::ArchiveError;

/// Completes a layer by what lies below it: a folder that is only mentioned on the way to something else looks as it does there.
///
/// In an overlay such a folder would hide a symbolic link below it, and with it all that is behind the link: it is
/// refused.
pub(crate) fn settle(layer: &mut Folder, below: &Folder) -> Result<(), ArchiveError> {
    // overlayfs does not ask whether a root is opaque, so that one hides by name.
    if std::mem::take(&mut layer.is_opaque) {
        layer.hidden.extend(below.entries.keys().cloned());
    }
    settle_at(layer, Some(below), &mut Vec::new())
}

fn settle_at(layer: &mut Folder, below: Option<&Folder>, path: &mut Vec<u8>) -> Result<(), ArchiveError> {
    if let Some(below) = below.filter(|_| !layer.is_explicit) {
        layer.attributes = below.attributes.clone();
    }
    let below = below.filter(|_| !layer.is_opaque);
    for (name, node) in &mut layer.entries {
        let Node::Folder(folder) = node else { continue };
        let there = below.filter(|_| !layer.hidden.contains(name)).and_then(|below| below.entries.get(name));
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(name);
        let there = match there {
            Some(Node::Folder(there)) => Some(&**there),
            Some(Node::Other(other)) if !folder.is_explicit => {
                let reason = match other.content {
                    Content::Symlink(_) => {
                        "is a folder without an entry, and a symbolic link in a layer below"
                    }
                    _ => "is a folder without an entry, and no folder in a layer below",
                };
                return Err(ArchiveError::path(path, reason));
            }
            _ => None,
        };
        settle_at(folder, there, path)?;
        path.truncate(length);
    }
    Ok(())
}

impl Folder {
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
