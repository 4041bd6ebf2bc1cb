//! What a hub in a folder holds for browsers. Unlike a push, none of this makes a hub of a folder that is none.

use super::file::DirError;
use super::layout::Layout;
use super::manifests;
use crate::Page;

pub(super) fn put(layout: &Layout, page: Page, bytes: &[u8]) -> Result<(), DirError> {
    layout.check()?;
    let hub = layout.prepare()?;
    let mut temp = hub.temp_file()?;
    temp.append(bytes)?;
    temp.place(hub.root(), page.file_name())
}

pub(super) fn refresh_index(layout: &Layout) -> Result<(), DirError> {
    layout.check()?;
    manifests::write_index(layout, &layout.prepare()?)
}
