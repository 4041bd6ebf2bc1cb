//! `spore cp`: a tar stream, made into files below a folder, and nowhere else.

#![no_main]

use std::fs;

use archive::{Destination, Modes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let stream = fuzz::tar::with_right_sums(stream);
    let folder = tempfile::tempdir_in(fuzz::scratch()).expect("a folder can be made");
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).expect("a folder can be made");
    let destination = Destination::folder(&inside).expect("it is there");
    let _ = fuzz::memory::within(64 << 20, || destination.extract(stream.as_slice(), Modes::Permissions));
    let beside = fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(beside, 1, "something was made outside");
});
