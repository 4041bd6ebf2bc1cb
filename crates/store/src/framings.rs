//! `framings/`: by which map a layer's content was cut into frames here, so that equal layers share blobs.
//!
//! A cache of hints: a framing is used only after the map it names was read and found to be of this content.

use format::Digest;

use crate::file::{FileError, names, read_small, remove_file, replace};
use crate::{Folder, Store};

impl Store {
    /// The map by which the layer with this content was framed here, if that is known.
    ///
    /// # Errors
    /// If the entry cannot be read.
    pub fn framing(&self, content: &Digest) -> Result<Option<Digest>, FileError> {
        let path = self.folder(Folder::Framings).join(content.hex());
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end().parse().map(Some).map_err(|error| FileError::content(&path, &error))
    }

    /// Remembers by which map the layer with this content was framed.
    ///
    /// # Errors
    /// If the entry cannot be written.
    pub fn set_framing(&self, content: &Digest, map: &Digest) -> Result<(), FileError> {
        let path = self.folder(Folder::Framings).join(content.hex());
        replace(&self.folder(Folder::Tmp), &path, format!("{map}\n").as_bytes())
    }

    /// Forgets the framings whose map `is_kept` denies.
    pub(crate) fn forget_framings(&self, is_kept: &dyn Fn(&Digest) -> bool) -> Result<(), FileError> {
        let folder = self.folder(Folder::Framings);
        for name in names(&folder)? {
            let Ok(content) = Digest::from_hex(&name) else { continue };
            if self.framing(&content)?.is_some_and(|map| !is_kept(&map)) {
                remove_file(&folder.join(name))?;
            }
        }
        Ok(())
    }
}
