//! What a process costs. Alone in its program: while the tests of `process.rs` fork, a page that was written is for a moment that of two
//! processes, and private to neither.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use host::{Deadline, ProcessId, usage};

#[test]
fn memory_and_time_are_those_of_the_process() {
    let mut mine = vec![0_u8; 32 << 20];
    let before = usage(ProcessId::current().unwrap()).unwrap();
    mine.fill(1);
    let (until, worked) = (Deadline::after(Duration::from_secs(20)), before.cpu + Duration::from_millis(20));
    let after = loop {
        std::hint::black_box(&mut mine);
        let now = usage(ProcessId::current().unwrap()).unwrap();
        if now.cpu >= worked || until.remaining().is_none() {
            break now;
        }
    };
    // The pages that were there before it was filled are few.
    assert!(after.anonymous >= before.anonymous + (24 << 20), "{before:?} {after:?}");
    assert!(after.private_dirty >= 32 << 20 && after.proportional >= 32 << 20, "{after:?}");
    assert!(after.cpu >= worked, "{before:?} {after:?}");
}
