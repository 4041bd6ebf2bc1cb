//! The bytes of files, apart from the tree that names them: in a file without a name until their layer is written, and in
//! that layer's image from then on.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::LayerError;
use crate::Progress;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
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
    buffer: Vec<u8>,
}

impl Spool {
    /// An empty one, on the filesystem of `folder`.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { file, length: 0, stored: 0, images: Vec::new(), buffer: vec![0; CHUNK] })
    }

    /// Puts all that `input` gives behind the rest, and says where and how much that was.
    pub(crate) fn copy(
        &mut self,
        mut input: impl Read,
        progress: &dyn Progress,
    ) -> Result<(Place, u64), LayerError> {
        let start = self.length;
        let mut buffer = std::mem::take(&mut self.buffer);
        let copied = self.copy_by(&mut input, &mut buffer, progress);
        self.buffer = buffer;
        copied?;
        // Its end may be a hole.
        self.file.set_len(self.length).map_err(LayerError::Write)?;
        Ok((Place::Spool(start), self.length - start))
    }

    fn copy_by(
        &mut self,
        input: &mut impl Read,
        buffer: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<(), LayerError> {
        loop {
            let count = match input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(LayerError::Read)?,
            };
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            if progress.is_interrupted() {
                return Err(LayerError::Interrupted);
            }
            self.ensure_space(count as u64)?;
            for piece in bytes.chunks(HOLE) {
                if !is_zero(piece) {
                    self.file.write_all_at(piece, self.length).map_err(LayerError::Write)?;
                    self.stored += piece.len() as u64;
                }
                self.length += piece.len() as u64;
            }
        }
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
