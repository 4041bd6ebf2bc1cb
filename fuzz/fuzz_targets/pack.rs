//! Packs, whole: what a pipe gives and what a file holds is understood alike, nothing is stored by looking, and what an unpack that
//! fails has stored is gone.

#![no_main]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Cursor, Write};

use format::Digest;
use libfuzzer_sys::fuzz_target;
use pack::{Counts, Input, UnpackError, UnpackOptions, UnpackPlan, plan_unpack};
use store::{Store, TagAs};
use tempfile::TempDir;

/// Bytes of its blobs, and of what they are laid out to.
const MAX_BYTES: u64 = 64 << 20;
const OPTIONS: UnpackOptions = UnpackOptions { max_bytes: Some(MAX_BYTES), lay_out: true, may_lack: false };
/// Memory of one command (docs/format.md, "Bounds").
const MEMORY: usize = 200 << 20;

thread_local! {
    /// A store that is empty between two runs.
    static HOME: RefCell<Option<(TempDir, Store)>> = const { RefCell::new(None) };
}

fuzz_target!(|script: &[u8]| {
    let pack = fuzz::pack::assemble(script);
    HOME.with_borrow_mut(|home| {
        let (folder, store) = home.get_or_insert_with(|| {
            let folder = tempfile::tempdir_in(fuzz::scratch()).expect("a folder can be made");
            let store = Store::open(&folder.path().join("root")).expect("a store can be made");
            (folder, store)
        });
        look(store, &pack);
        assert_empty(store);
        if unpack(store, &pack) {
            *home = None;
        } else {
            assert_empty(store);
            let beside = fs::read_dir(folder.path()).expect("it is there").count();
            assert_eq!(beside, 1, "something was made outside of the store");
        }
    });
});

/// Reads it from a pipe, and from a file.
fn look(store: &Store, pack: &[u8]) {
    let mut from_file = tempfile::tempfile_in(fuzz::scratch()).expect("a file can be made");
    from_file.write_all(pack).expect("there is room");
    let (piped, file) =
        fuzz::memory::within(MEMORY, || (verify(store, stream(pack)), verify(store, Input::File(from_file))));
    match (piped, file) {
        (Ok(piped), Ok(file)) => assert_eq!(piped, file),
        (Ok(_), Err(error)) => panic!("a pipe gives what a file does not: {error}"),
        // Its order may be one that only a file may have.
        (Err(_), _) => {}
    }
}

/// What it says of itself, and what all of it is.
fn verify(store: &Store, input: Input) -> Result<(Digest, Option<u64>, Counts), UnpackError> {
    let plan = plan_unpack(store, input, OPTIONS)?;
    check(&plan);
    let (snapshot, flat_bytes) = (plan.snapshot, plan.flat_bytes);
    Ok((snapshot, flat_bytes, plan.verify(&())?))
}

fn check(plan: &UnpackPlan) {
    assert!(plan.blob_bytes <= MAX_BYTES && plan.flat_bytes.unwrap_or(0) <= MAX_BYTES);
    if let Some(name) = &plan.name {
        let shown = name.to_string();
        assert!(shown.len() < 1200 && !shown.contains(char::is_control), "{shown:?} goes to terminals");
    }
}

/// Unpacks it; whether that could be done.
fn unpack(store: &Store, pack: &[u8]) -> bool {
    let tag = TagAs { name: "local/fuzz:1".parse().expect("a name"), may_move: false };
    let unpacked = fuzz::memory::within(MEMORY, || {
        plan_unpack(store, stream(pack), OPTIONS)?.execute(&tag, &())?.finish(&tag, &())
    });
    match unpacked {
        Ok(unpacked) => {
            let snapshot = store.load_snapshot(&unpacked.snapshot).expect("it is there");
            let flats = store.layout(&store.lease().expect("a lease"), &snapshot.config, &snapshot.maps);
            assert_eq!(flats.expect("it is laid out").bytes(), 0, "something is left to lay out");
            let report = store.fsck(&|_| ()).expect("it can be looked at");
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            true
        }
        Err(UnpackError::Left { .. }) => panic!("something could not be taken back"),
        Err(_) => false,
    }
}

fn stream(pack: &[u8]) -> Input {
    Input::Stream(Box::new(Cursor::new(pack.to_vec())))
}

/// Checks that nothing is in the store.
fn assert_empty(store: &Store) {
    for folder in ["blobs/sha256", "flat", "refs", "partial", "tmp", "trash", "leases", "origins", "framings"]
    {
        let path = store.root().join(folder);
        let names: Vec<_> =
            fs::read_dir(&path).expect("it is there").map(|entry| entry.map(|e| e.file_name())).collect();
        assert!(names.is_empty(), "{names:?} is left in {}", path.display());
    }
    let index = File::open(store.root().join("index.json"));
    assert!(index.is_ok(), "the store has lost a file");
}
