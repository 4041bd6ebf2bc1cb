//! Packs: what their reader takes, every reader of tar archives takes for the same files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tar_stream::{End, Entries, Error, Kind, Part, Stream};

fuzz_target!(|archive: &[u8]| {
    let archive = fuzz::tar::with_right_sums(archive);
    let Ok(files) = fuzz::memory::within(8 << 20, || pack::testing::read_archive(&archive)) else { return };
    // Values of records that change nothing are not looked at in a pack.
    if let Ok(found) = read(&archive) {
        assert_eq!(found, files);
    }
});

/// The places and sizes of an archive's files.
fn read(archive: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let mut entries = Entries::new(Stream(archive), End::Sealed);
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        match entry.kind {
            Kind::File { size, parts } => {
                assert_eq!(parts, [Part { offset: 0, length: size }]);
                found.push((entries.position(), size));
            }
            Kind::Folder => {}
            other => panic!("{other:?} is taken for a file of a pack"),
        }
    }
    entries.finish(|| Ok::<_, Error>(()))?;
    Ok(found)
}
