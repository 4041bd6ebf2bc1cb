//! Maps of files with holes: GNU tar's old form, in and behind the header, and its form 1.0, before the data.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::extensions::SparseRecords;
use crate::number::number;
use crate::{BLOCK, Blocks, Error, Input, MAX_FILE};

/// Most parts of a file that are data: 16 MiB of memory.
pub const MAX_PARTS: usize = 1 << 20;
/// Most bytes of a map: two numbers of up to 20 digits for each part.
const MAX_MAP: u64 = MAX_PARTS as u64 * 42;

pub(crate) const TOO_LARGE: &str = "is larger than any file";
const WRONG: &str = "has a wrong map of holes";
const TOO_MANY: &str = "has more than 1048576 holes";

/// A part of a file that is data, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where in the file it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl Part {
    /// Where it ends; `None` if no file is that long.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// A file's bytes, holes included, and what of it is data, in order.
pub(crate) type Map = (u64, Vec<Part>);

/// Of the old form: four parts are in the header, more in blocks behind it. `refused` makes an error of what is wrong.
pub(crate) fn old_map<I: Input>(
    header: &Header,
    blocks: &mut Blocks<I>,
    refused: impl Fn(&'static str) -> Error,
) -> Result<Map, Error> {
    let header = header.as_gnu().ok_or_else(|| refused(WRONG))?;
    let size = unsigned(&header.realsize).ok_or_else(|| refused(WRONG))?;
    let mut parts = Vec::new();
    add(&mut parts, &header.sparse).map_err(&refused)?;
    let mut is_extended = header.is_extended();
    while is_extended {
        let mut more = GnuExtSparseHeader::new();
        blocks.exact(more.as_mut_bytes())?;
        // One that is empty and goes on would go on for ever.
        if more.is_extended() && more.sparse().iter().all(GnuSparseHeader::is_empty) {
            return Err(refused(WRONG));
        }
        add(&mut parts, more.sparse()).map_err(&refused)?;
        is_extended = more.is_extended();
    }
    checked(size, parts, blocks.left()).map_err(refused)
}

fn add(parts: &mut Vec<Part>, more: &[GnuSparseHeader]) -> Result<(), &'static str> {
    for part in more.iter().filter(|part| !part.is_empty()) {
        let (offset, length) = (unsigned(&part.offset), unsigned(&part.numbytes));
        let (Some(offset), Some(length)) = (offset, length) else { return Err(WRONG) };
        parts.push(Part { offset, length });
    }
    if parts.len() > MAX_PARTS { Err(TOO_MANY) } else { Ok(()) }
}

fn unsigned(field: &[u8]) -> Option<u64> {
    number(field).and_then(|number| u64::try_from(number).ok())
}

/// Of the form 1.0: decimal numbers on lines, in whole blocks that come before the data. `refused` as above.
pub(crate) fn map<I: Input>(
    records: &SparseRecords,
    blocks: &mut Blocks<I>,
    refused: impl Fn(&'static str) -> Error,
) -> Result<Map, Error> {
    let (Some(1), Some(0), Some(size)) = (records.major, records.minor, records.size) else {
        return Err(refused(
            "has holes in a form other than GNU's 1.0: make the archive with tar --sparse-version=1.0",
        ));
    };
    let mut lines = Lines { left: MAX_MAP, block: [0; BLOCK], at: BLOCK };
    let mut number = || lines.number(blocks)?.ok_or_else(|| refused(WRONG));
    let count = number()?;
    if count > MAX_PARTS as u64 {
        return Err(refused(TOO_MANY));
    }
    let mut parts = Vec::new();
    for _ in 0..count {
        parts.push(Part { offset: number()?, length: number()? });
    }
    checked(size, parts, blocks.left()).map_err(refused)
}

/// The lines of a map.
struct Lines {
    /// Bytes that may still be read.
    left: u64,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines {
    /// The next line's number; `None` if it has none.
    fn number<I: Input>(&mut self, blocks: &mut Blocks<I>) -> Result<Option<u64>, Error> {
        let mut number = None;
        loop {
            if self.at == BLOCK {
                let Some(left) = self.left.checked_sub(BLOCK as u64) else { return Ok(None) };
                let Some(block) = blocks.content_block()? else { return Ok(None) };
                (self.left, self.block, self.at) = (left, block, 0);
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            let digit = match byte {
                b'\n' => return Ok(number),
                b'0'..=b'9' => u64::from(byte - b'0'),
                _ => return Ok(None),
            };
            let Some(more) = number.unwrap_or(0_u64).checked_mul(10).and_then(|ten| ten.checked_add(digit))
            else {
                return Ok(None);
            };
            number = Some(more);
        }
    }
}

/// The map, if these are parts of a file of `size` bytes, in order, with `data` bytes in them.
fn checked(size: u64, parts: Vec<Part>, data: u64) -> Result<Map, &'static str> {
    if size > MAX_FILE {
        return Err(TOO_LARGE);
    }
    let (mut end, mut total) = (0, 0_u64);
    for part in &parts {
        let part_end = part.end().filter(|part_end| part.offset >= end && *part_end <= size).ok_or(WRONG)?;
        // Parts that do not overlap are no longer together than the file.
        (end, total) = (part_end, total.saturating_add(part.length));
    }
    if total == data { Ok((size, parts)) } else { Err(WRONG) }
}
