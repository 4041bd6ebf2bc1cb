//! What QEMU says: a guest that has taken it over says anything.

#![no_main]

use engine::qemu::testing::Spoken;
use engine::{Attachment, Disk, DiskFormat, EngineError, FileName, Status};
use fuzz::documents::{BEGIN, STATUS};
use libfuzzer_sys::fuzz_target;

/// Bytes of what people are told of it.
const WORDS: usize = 16 << 10;

fuzz_target!(|input: &[u8]| {
    let said = fuzz::json::read(input, &[BEGIN, STATUS]);
    let said = said.get(..64 << 10).unwrap_or(&said);
    fuzz::memory::within(64 * said.len() + (256 << 10), || {
        begin(said);
        match spoken(said).status() {
            Ok(Status::Other(words)) => assert!(words.len() <= WORDS),
            Ok(_) => {}
            Err(error) => check(&error),
        }
        match spoken(said).machine_type() {
            Ok(name) => assert!(name.len() <= said.len()),
            Err(error) => check(&error),
        }
        match spoken(said).end() {
            Ok(reason) => assert!(reason.is_none_or(|reason| reason.len() <= WORDS)),
            Err(error) => check(&error),
        }
    });
});

fn spoken(said: &[u8]) -> Spoken {
    Spoken::new(said).expect("it fits into a socket")
}

/// A fork begins only if what is said to be attached is what was asked for.
fn begin(said: &[u8]) {
    let file = |name| FileName::new(name).expect("a name");
    let layer = Disk {
        id: "layer0".into(),
        file: file("layer0"),
        size: 4096,
        format: DiskFormat::Raw,
        read_only: true,
    };
    let format = DiskFormat::Overlay { base: file("writable.base") };
    let writable =
        Disk { id: "writable".into(), file: file("writable.overlay"), size: 8192, format, read_only: false };
    let mut spoken = spoken(said);
    match spoken.begin(&[layer, writable]) {
        Ok(attached) => {
            let attachment = |id: &str, file: Option<&str>, base: Option<&str>, size, read_only| Attachment {
                id: id.to_owned(),
                file: file.map(str::to_owned),
                base: base.map(str::to_owned),
                size,
                read_only,
            };
            let expected = [
                attachment("writable", Some("writable.overlay"), Some("writable.base"), 8192, false),
                attachment("data0", None, None, 1 << 20, false),
                attachment("layer0", Some("layer0"), None, 4096, true),
            ];
            assert_eq!(attached, expected);
        }
        Err(error) => check(&error),
    }
}

fn check(error: &EngineError) {
    assert!(error.to_string().len() <= WORDS, "an error is for people");
    assert!(!matches!(error, EngineError::Timeout(_)), "all was said, so nothing is to be waited for");
}
