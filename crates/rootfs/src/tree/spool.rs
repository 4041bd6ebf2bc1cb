//! The bytes of files, apart from the tree that names them: in a file without a name until their layer is written, and in
//! that layer's image from then on.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::LayerError;
use crate::Progress;

/// What is zero for so many bytes becomes a hole, here and in images.
pub(crate) const HOLE: usize = 64 << 10;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// Where the bytes of a file begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In the spool.
    Spool(u64),
    /// In an image that was written before, by its number in the spool.
    Image(u16, u64),
}

/// All bytes of an image's files.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    length: u64,
    /// Bytes of it that are no holes.
    stored: u64,
    /// The images that were written of it, in their order.
    images: Vec<File>,
}

impl Spool {
    /// An empty one, on the filesystem of `folder`.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { file, length: 0, stored: 0, images: Vec::new() })
    }

    /// Puts a file of `size` bytes behind the rest, and says where. `fill` gives its data to its argument piece by piece, each with
    /// its place in the file; all else is a hole.
    pub(crate) fn add(
        &mut self,
        size: u64,
        progress: &dyn Progress,
        fill: impl FnOnce(&mut dyn FnMut(&[u8], u64) -> Result<(), LayerError>) -> Result<(), LayerError>,
    ) -> Result<Place, LayerError> {
        let start = self.length;
        fill(&mut |bytes, offset| self.put(bytes, start + offset, progress))?;
        self.end_at(start + size)?;
        Ok(Place::Spool(start))
    }

    /// Puts all that `input` gives behind the rest, and says where and how much that was.
    pub(crate) fn copy(
        &mut self,
        mut input: impl Read,
        progress: &dyn Progress,
    ) -> Result<(Place, u64), LayerError> {
        let start = self.length;
        let mut end = start;
        let mut buffer = vec![0; HOLE];
        loop {
            let count = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(LayerError::Read)?,
            };
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            self.put(bytes, end, progress)?;
            end += count as u64;
        }
        self.end_at(end)?;
        Ok((Place::Spool(start), end - start))
    }

    /// Writes at a position, behind all files that are here. What is zero stays a hole.
    fn put(&mut self, bytes: &[u8], position: u64, progress: &dyn Progress) -> Result<(), LayerError> {
        if progress.is_interrupted() {
            return Err(LayerError::Interrupted);
        }
        self.ensure_space(bytes.len() as u64)?;
        for (piece, position) in bytes.chunks(HOLE).zip((position..).step_by(HOLE)) {
            if !is_zero(piece) {
                self.file.write_all_at(piece, position).map_err(LayerError::Write)?;
                self.stored += piece.len() as u64;
            }
        }
        Ok(())
    }

    /// Ends the last file, whose end may be a hole.
    fn end_at(&mut self, position: u64) -> Result<(), LayerError> {
        self.length = position;
        self.file.set_len(position).map_err(LayerError::Write)
    }

    /// Checks that `count` more bytes fit, and an image of all that is here.
    fn ensure_space(&self, count: u64) -> Result<(), LayerError> {
        let stat = rustix::fs::fstatvfs(&self.file).map_err(|error| LayerError::Write(error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let needed = self.stored.saturating_add(count.saturating_mul(2));
        if needed <= free { Ok(()) } else { Err(LayerError::NoSpace { needed, free }) }
    }

    /// Bytes of a file, `offset` bytes behind its beginning.
    pub(crate) fn read_exact_at(&self, place: Place, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match place {
            Place::Spool(start) => self.file.read_exact_at(buffer, start + offset),
            Place::Image(number, start) => {
                let image = self.images.get(usize::from(number));
                let image = image.ok_or_else(|| io::Error::other("a file's layer was never written"))?;
                image.read_exact_at(buffer, start + offset)
            }
        }
    }

    /// The number of the image that is added next.
    pub(crate) fn next_image(&self) -> io::Result<u16> {
        u16::try_from(self.images.len()).map_err(io::Error::other)
    }

    /// Takes an image to read from, and gives its number.
    pub(crate) fn add_image(&mut self, image: File) -> io::Result<u16> {
        let number = self.next_image()?;
        self.images.push(image);
        Ok(number)
    }

    /// Bytes of the disk that it takes.
    #[cfg(test)]
    pub(super) fn disk_usage(&self) -> u64 {
        std::os::unix::fs::MetadataExt::blocks(&self.file.metadata().unwrap()) * 512
    }

    /// Forgets what lies here itself: all of it is in images.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        (self.length, self.stored) = (0, 0);
        self.file.set_len(0)
    }
}

/// Whether at most [`HOLE`] bytes are all zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    ZEROS.get(..bytes.len()).is_some_and(|zeros| bytes == zeros)
}
