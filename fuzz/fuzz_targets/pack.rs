//! Packs, whole: what a pipe gives and what a file holds is understood alike, nothing is stored by looking, and what an unpack that
//! fails has stored is gone.

#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use format::{Digest, Manifest};
use libfuzzer_sys::fuzz_target;
use pack::{Counts, Input, UnpackError, UnpackOptions, UnpackPlan, plan_unpack};
use store::{Store, TagAs};
use tar::EntryType;
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
    if let Ok((snapshot, ..)) = &file {
        assert_declared(pack, *snapshot);
    }
    match (piped, file) {
        (Ok(piped), Ok(file)) => assert_eq!(piped, file),
        (Ok(_), Err(error)) => panic!("a pipe gives what a file does not: {error}"),
        // Its order may be one that only a file may have.
        (Err(_), _) => {}
    }
}

/// Checks that each file of a pack has its place in one, once, and the content that its name says.
fn assert_declared(pack: &[u8], snapshot: Digest) {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(pack).entries().expect("it is an archive") {
        let mut entry = entry.expect("it was read");
        if entry.header().entry_type() == EntryType::Regular {
            let (mut content, path) = (Vec::new(), entry.path().expect("it was read").into_owned());
            entry.read_to_end(&mut content).expect("it was read");
            let name = path.strip_prefix(".").unwrap_or(&path).to_owned();
            assert!(found.insert(name, content).is_none(), "a file comes twice");
        }
    }
    let name = |digest: &Digest| PathBuf::from(format!("blobs/sha256/{}", digest.hex()));
    let manifest = Manifest::parse(&found[&name(&snapshot)]).expect("it was read");
    let mut blobs: BTreeMap<_, _> =
        manifest.blobs().map(|blob| (name(&blob.digest), Some(blob.size))).collect();
    blobs.insert(name(&snapshot), None);
    for (file, content) in found {
        match blobs.get(&file) {
            Some(size) => {
                assert!(size.is_none_or(|size| size == content.len() as u64));
                assert_eq!(file, name(&Digest::of(&content)), "a blob has another's name");
            }
            None => assert!(["oci-layout", "index.json"].map(Path::new).contains(&&*file), "{file:?}"),
        }
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
            let expected = snapshot.manifest.blobs().map(|blob| blob.digest).chain([unpacked.snapshot]);
            assert_eq!(
                blobs(store),
                expected.map(|digest| digest.hex()).collect(),
                "what is not declared is stored"
            );
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

/// The names of the blobs in the store.
fn blobs(store: &Store) -> BTreeSet<String> {
    let files = fs::read_dir(store.root().join("blobs/sha256")).expect("it is there");
    files.map(|file| file.expect("it can be read").file_name().into_string().expect("a digest")).collect()
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
