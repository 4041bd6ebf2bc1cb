//! Bases: tar archives that somebody made, and layers of images, made into a tree.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|archive: &[u8]| {
    let archive = fuzz::tar::with_right_sums(archive);
    let (is_base, is_layer) = fuzz::memory::within(64 << 20, || {
        let is_base = rootfs::testing::read_base(&archive, fuzz::scratch()).is_ok();
        (is_base, rootfs::testing::read_layer(&archive, fuzz::scratch()).is_ok())
    });
    assert!(is_layer || !is_base, "layers are read less strictly");
});
