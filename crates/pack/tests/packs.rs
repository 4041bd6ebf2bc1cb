//! Packs from store to store: what goes in comes out, and what is not whole is refused without a trace.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use format::{Digest, PlannedBlob};
use pack::{
    Arrived, Contents, Input, PackError, PackPlan, Progress, ReadError, TakeBackError, UnpackError,
    UnpackOptions, Unpacked, plan_pack, plan_unpack,
};
use proptest::prelude::*;
use store::testing::{Sample, SampleSpec, put_sample};
use store::{LockKey, Store, TagAs};
use tempfile::TempDir;

const OPTIONS: UnpackOptions = UnpackOptions { max_bytes: None, lay_out: true, may_lack: false };
const TINY: SampleSpec<'_> = SampleSpec { seed: "tiny", layers: 1, layer_pages: 1, memory_pages: 1 };

/// A store in memory, gone when dropped: nothing here survives the test, so syncing to a disk would prove nothing.
struct Home {
    folder: TempDir,
    store: Store,
}

fn home() -> Home {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(&folder.path().join("root")).unwrap();
    Home { folder, store }
}

impl Home {
    fn sample(&self, spec: &SampleSpec<'_>) -> Sample {
        put_sample(&self.store, spec).unwrap()
    }

    /// Every file of the store but what names no content.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for folder in ["blobs/sha256", "flat", "refs", "partial", "tmp", "trash", "leases"] {
            let entries = fs::read_dir(self.folder.path().join("root").join(folder)).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        found
    }
}

fn contents() -> Contents {
    Contents { name: Some("sample:1".to_owned()), ..Contents::default() }
}

fn plan(store: &Store, digest: &Digest, contents: &Contents) -> PackPlan {
    let lease = store.lease().unwrap();
    let snapshot = store.load_leased(&lease, digest).unwrap();
    plan_pack(store, &lease, &snapshot, contents).unwrap()
}

fn packed(store: &Store, digest: &Digest, contents: &Contents) -> Vec<u8> {
    let plan = plan(store, digest, contents);
    let mut bytes = Vec::new();
    plan.write(&mut bytes, &()).unwrap();
    assert_eq!(bytes.len() as u64, plan.bytes);
    bytes
}

fn stream(bytes: &[u8]) -> Input {
    Input::Stream(Box::new(Cursor::new(bytes.to_vec())))
}

fn file(bytes: &[u8]) -> Input {
    let mut file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    file.write_all(bytes).unwrap();
    Input::File(file)
}

fn tag() -> TagAs {
    TagAs { name: "local/sample:1".parse().unwrap(), may_move: false }
}

fn arrive(store: &Store, input: Input, options: UnpackOptions) -> Result<Arrived, UnpackError> {
    plan_unpack(store, input, options)?.execute(&tag(), &())
}

fn unpack(store: &Store, input: Input) -> Result<Unpacked, UnpackError> {
    arrive(store, input, OPTIONS)?.finish(&tag(), &())
}

fn verify(store: &Store, input: Input) -> Result<(), UnpackError> {
    plan_unpack(store, input, OPTIONS)?.verify(&()).map(drop)
}

#[test]
fn what_goes_in_comes_out() {
    let source = home();
    let sample = source.sample(&SampleSpec { layers: 12, layer_pages: 300, ..SampleSpec::default() });
    let bytes = packed(&source.store, &sample.digest, &contents());
    for input in [stream(&bytes), file(&bytes)] {
        let target = home();
        let plan = plan_unpack(&target.store, input, OPTIONS).unwrap();
        assert_eq!(
            (plan.snapshot, plan.name.as_ref().map(ToString::to_string).as_deref()),
            (sample.digest, Some("sample:1"))
        );
        assert!(
            plan.blob_bytes == sample.manifest.total_size() && plan.flat_bytes.unwrap() > 12 * 300 * 4096
        );
        let arrived = plan.execute(&tag(), &()).unwrap();
        let (new, present) = (arrived.counts.new_bytes, arrived.counts.present_bytes);
        assert_eq!((new, present), (sample.manifest.total_size(), 0));
        let unpacked = arrived.finish(&tag(), &()).unwrap();
        assert_eq!((unpacked.snapshot, unpacked.moved_from), (sample.digest, None));
        assert_eq!(target.store.get_ref(&tag().name).unwrap().unwrap().digest, sample.digest);
        assert_eq!(target.store.fsck(&|_| ()).unwrap().problems.len(), 0);
        let snapshot = target.store.load_snapshot(&sample.digest).unwrap();
        // All was laid out already.
        let lease = target.store.lease().unwrap();
        let layout = target.store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
        assert_eq!(layout.bytes(), 0);
        assert_eq!(packed(&target.store, &sample.digest, &contents()), bytes);
        // A second time nothing is stored, and nothing refused.
        let before = target.files();
        drop((layout, lease));
        let again = arrive(&target.store, stream(&bytes), OPTIONS).unwrap();
        assert_eq!((again.counts.new_bytes, again.counts.present_bytes), (0, sample.manifest.total_size()));
        again.finish(&tag(), &()).unwrap();
        assert_eq!(target.files().len(), before.len() - 1, "only the lease is gone");
    }
}

#[test]
fn equal_snapshots_make_equal_packs() {
    let (one, two) = (home(), home());
    let digest = one.sample(&TINY).digest;
    assert_eq!(two.sample(&TINY).digest, digest);
    let pack = packed(&one.store, &digest, &contents());
    assert_eq!(packed(&two.store, &digest, &contents()), pack);
    assert_ne!(packed(&one.store, &digest, &Contents::default()), pack);
}

#[test]
fn a_pack_without_layers_needs_them_here() {
    let source = home();
    let spec = SampleSpec { layer_pages: 100, ..SampleSpec::default() };
    let sample = source.sample(&spec);
    let small = Contents { without_layers: true, ..contents() };
    let plan = plan(&source.store, &sample.digest, &small);
    assert!(plan.left_out.iter().all(|part| part.role.starts_with("frames of disk layer")));
    assert!(plan.left_out.len() == 2 && plan.left_out_bytes() > 2 * 100 * 4096, "{plan:?}");
    let bytes = packed(&source.store, &sample.digest, &small);
    refuses_what_lacks(&bytes, &plan);

    // Another snapshot with the same layers.
    let target = home();
    target.sample(&SampleSpec { seed: "other", ..spec });
    unpack(&target.store, stream(&bytes)).unwrap();
}

#[test]
fn a_pack_since_another_snapshot_needs_that() {
    let source = home();
    let base = source.sample(&SampleSpec::default()).digest;
    let derived = source.sample(&SampleSpec { seed: "derived", ..SampleSpec::default() }).digest;
    let since = |since| Contents { since: Some(since), ..contents() };
    let plan = plan(&source.store, &derived, &since(base));
    let bytes = packed(&source.store, &derived, &since(base));
    refuses_what_lacks(&bytes, &plan);
    let target = home();
    target.sample(&SampleSpec::default());
    unpack(&target.store, file(&bytes)).unwrap();
    // Of a snapshot since itself nothing is left but its name.
    let nothing = packed(&source.store, &derived, &since(derived));
    assert!(nothing.len() < 8192);
    unpack(&target.store, stream(&nothing)).unwrap();
    let lacking = home();
    let Err(UnpackError::Missing { parts, .. }) = unpack(&lacking.store, stream(&nothing)) else { panic!() };
    assert_eq!(parts.0.len(), source.store.read_manifest(&derived).unwrap().0.blobs().count());
    assert_eq!(parts.0[0].role, "config");
}

/// The blobs, and the disks that they are said to be of: what is known of frames without their map is their title.
fn named(parts: &[PlannedBlob]) -> Vec<(Digest, u64, Option<&str>)> {
    let disk =
        |part: &PlannedBlob| ["layer0", "layer1", "memory"].into_iter().find(|disk| part.role.contains(disk));
    parts.iter().map(|part| (part.digest, part.size, disk(part))).collect()
}

/// All that is missing is named at once, and nothing is kept.
#[track_caller]
fn refuses_what_lacks(bytes: &[u8], plan: &PackPlan) {
    for input in [stream(bytes), file(bytes)] {
        let target = home();
        let before = target.files();
        match unpack(&target.store, input) {
            Err(UnpackError::Missing { parts, snapshot }) => {
                assert_eq!((named(&parts.0), snapshot), (named(&plan.left_out), plan.snapshot));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(target.files(), before);
    }
    let target = home();
    let allowed = UnpackOptions { may_lack: true, ..OPTIONS };
    let arrived = arrive(&target.store, stream(bytes), allowed).unwrap();
    assert_eq!(named(&arrived.counts.missing.0), named(&plan.left_out));
    assert!(matches!(arrived.finish(&tag(), &()), Err(UnpackError::Store(_))));
    assert_eq!(target.files().len(), 0);
}

#[test]
fn a_size_is_refused_before_anything_is_stored() {
    let source = home();
    let sample = source.sample(&TINY);
    let bytes = packed(&source.store, &sample.digest, &contents());
    let target = home();
    let before = target.files();
    let of = |max_bytes| UnpackOptions { max_bytes: Some(max_bytes), ..OPTIONS };
    let blobs = sample.manifest.total_size();
    for (limit, expected) in [(blobs - 1, "in blobs"), (blobs, "laid out")] {
        match arrive(&target.store, stream(&bytes), of(limit)) {
            Err(UnpackError::TooLarge { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(target.files(), before);
    arrive(&target.store, stream(&bytes), of(1 << 20)).unwrap();
}

#[test]
fn a_damaged_blob_ends_the_pack() {
    let source = home();
    let sample = source.sample(&TINY);
    let whole = plan(&source.store, &sample.digest, &contents());
    let frames = whole.packed.iter().find(|part| part.role.starts_with("frames")).unwrap();
    let path = source.folder.path().join("root/blobs/sha256").join(frames.digest.hex());
    let right = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut flipped = right.clone();
    flipped[7] ^= 1;
    for wrong in [&flipped[..], &right[1..], &[&right[..], b"more"].concat(), b""] {
        fs::write(&path, wrong).unwrap();
        match whole.write(&mut std::io::sink(), &()) {
            Err(PackError::Damaged { part, .. }) => assert_eq!(&part, frames),
            other => panic!("{other:?}"),
        }
    }
    fs::write(&path, right).unwrap();
    whole.write(&mut std::io::sink(), &()).unwrap();
}

#[test]
fn a_tag_moves_only_when_it_may() {
    let source = home();
    let (one, two) = (source.sample(&TINY), source.sample(&SampleSpec { seed: "two", ..TINY }));
    let [one, two] =
        [one, two].map(|sample| (sample.digest, packed(&source.store, &sample.digest, &contents())));
    let target = home();
    unpack(&target.store, stream(&one.1)).unwrap();
    let before = target.files();
    assert!(matches!(unpack(&target.store, stream(&two.1)), Err(UnpackError::Ref(_))));
    assert_eq!(target.files(), before);
    let moving = TagAs { may_move: true, ..tag() };
    let plan = plan_unpack(&target.store, stream(&two.1), OPTIONS).unwrap();
    let unpacked = plan.execute(&moving, &()).unwrap().finish(&moving, &()).unwrap();
    assert_eq!(unpacked.moved_from, Some(one.0));
}

#[test]
fn cut_short_anywhere_it_is_refused() {
    let source = home();
    let bytes = packed(&source.store, &source.sample(&TINY).digest, &contents());
    let target = home();
    let before = target.files();
    for end in 0..bytes.len() {
        for input in [stream(&bytes[..end]), file(&bytes[..end])] {
            match verify(&target.store, input) {
                Err(UnpackError::Read(ReadError::CutShort { at, .. })) => assert!(at <= end as u64),
                other => panic!("{end}: {other:?}"),
            }
        }
    }
    // The same where something would be stored: at the borders of all blocks.
    for end in (0..bytes.len()).step_by(512).flat_map(|end| [end, end + 1]) {
        unpack(&target.store, stream(&bytes[..end])).unwrap_err();
        assert_eq!(target.files(), before, "{end}");
    }
    unpack(&target.store, stream(&bytes)).unwrap();
}

#[test]
fn zeros_may_follow_and_nothing_else() {
    let source = home();
    let bytes = packed(&source.store, &source.sample(&TINY).digest, &contents());
    let target = home();
    let followed_by = |more: &[u8]| [&bytes[..], more].concat();
    for zeros in [1, 512, 10_240] {
        verify(&target.store, stream(&followed_by(&vec![0; zeros]))).unwrap();
        verify(&target.store, file(&followed_by(&vec![0; zeros]))).unwrap();
    }
    for wrong in [b"x".to_vec(), [vec![0; 5000], b"x".to_vec()].concat(), vec![0; 2 << 20], bytes.clone()] {
        for input in [stream(&followed_by(&wrong)), file(&followed_by(&wrong))] {
            let refused = verify(&target.store, input);
            assert!(matches!(refused, Err(UnpackError::Read(ReadError::Trailing { .. }))), "{refused:?}");
        }
    }
}

/// The same header again and again.
struct Endless(tar::Header, usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.0.as_bytes()[self.1..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.1 = (self.1 + length) % 512;
        Ok(length)
    }
}

#[test]
fn what_never_ends_is_refused() {
    let mut header = tar::Header::new_ustar();
    header.set_path("blobs/").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_cksum();
    let refused = verify(&home().store, Input::Stream(Box::new(Endless(header, 0))));
    assert!(matches!(refused, Err(UnpackError::Read(ReadError::TooMany { .. }))), "{refused:?}");
}

/// Where `index.json` lies: behind the headers of two folders, a header, `oci-layout`, and its own header.
const INDEX: std::ops::Range<usize> = 2560..3072;

/// One pack for all cases, and a store that none of them may change.
fn shared() -> &'static (Vec<u8>, Home) {
    static SHARED: std::sync::OnceLock<(Vec<u8>, Home)> = std::sync::OnceLock::new();
    SHARED.get_or_init(|| {
        let source = home();
        let bytes = packed(&source.store, &source.sample(&TINY).digest, &contents());
        (bytes, home())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_is_no_pack(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let (_, target) = shared();
        prop_assert!(unpack(&target.store, stream(&bytes)).is_err());
        prop_assert!(unpack(&target.store, file(&bytes)).is_err());
    }

    /// A changed byte is found out, unless it is one of the padding behind an entry, which nobody reads, or of the index, which
    /// has no digest: what it leads to has.
    #[test]
    fn a_changed_byte_changes_nothing(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (bytes, target) = shared();
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        changed[at] = to;
        let said = [verify(&target.store, stream(&changed)), verify(&target.store, file(&changed))];
        let is_padding = bytes[at] == 0 && to != 0;
        let is_index = INDEX.contains(&at);
        for said in said {
            prop_assert!(said.is_err() || is_padding || is_index || bytes[at] == to, "{at}");
        }
    }
}

#[test]
fn a_file_is_read_in_any_order_and_a_pipe_in_ours() {
    let source = home();
    let digest = source.sample(&TINY).digest;
    let bytes = packed(&source.store, &digest, &contents());
    let folder = source.folder.path().join("unpacked");
    tar::Archive::new(&bytes[..]).unpack(&folder).unwrap();
    let foreign = archive(&folder);
    let target = home();
    let refused = unpack(&target.store, stream(&foreign));
    assert!(matches!(refused, Err(UnpackError::Read(ReadError::Order(_)))), "{refused:?}");
    assert_eq!(unpack(&target.store, file(&foreign)).unwrap().snapshot, digest);
}

/// A folder as `tar -c .` would write it: blobs first.
fn archive(folder: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir("./", folder).unwrap();
    let mut blobs: Vec<_> =
        fs::read_dir(folder.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    blobs.sort();
    builder.append_dir("./blobs/", folder.join("blobs")).unwrap();
    for path in blobs.iter().chain([&folder.join("index.json"), &folder.join("oci-layout")]) {
        let name = Path::new(".").join(path.strip_prefix(folder).unwrap());
        builder.append_file(name, &mut File::open(path).unwrap()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Whoever knows the digest finds no manifest before all that it leads to is there.
#[test]
fn the_manifest_comes_last() {
    let source = home();
    let sample = source.sample(&SampleSpec { layer_pages: 100, ..SampleSpec::default() });
    let small = packed(&source.store, &sample.digest, &Contents { without_layers: true, ..contents() });
    let target = home();
    let arrived = arrive(&target.store, file(&small), UnpackOptions { may_lack: true, ..OPTIONS }).unwrap();
    assert_eq!(Digest::of(arrived.manifest()), sample.digest);
    assert!(!target.store.has_blob(&sample.digest).unwrap());
    let lease = target.store.lease().unwrap();
    for part in &arrived.counts.missing.0 {
        let bytes = source.store.read_blob(&part.digest, 1 << 20).unwrap();
        target.store.put_blob(&lease, &bytes).unwrap();
    }
    arrived.finish(&tag(), &()).unwrap();
    assert!(target.store.has_blob(&sample.digest).unwrap());
    assert_eq!(target.store.fsck(&|_| ()).unwrap().problems.len(), 0);
}

/// Somebody who presses Ctrl-C when flat files begin to be laid out, or later.
#[derive(Default)]
struct Hasty(AtomicBool);

impl Progress for Hasty {
    fn laying_out(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn an_interruption_counts_until_the_tag_is_set() {
    let source = home();
    let digest = source.sample(&SampleSpec { memory_pages: 3000, ..SampleSpec::default() }).digest;
    let bytes = packed(&source.store, &digest, &contents());
    for input in [stream(&bytes), file(&bytes)] {
        let target = home();
        let before = target.files();
        let hasty = Hasty::default();
        let plan = plan_unpack(&target.store, input, OPTIONS).unwrap();
        let unpacked = plan.execute(&tag(), &hasty).and_then(|arrived| arrived.finish(&tag(), &hasty));
        assert!(matches!(unpacked, Err(UnpackError::Interrupted)), "{unpacked:?}");
        assert_eq!(target.files(), before);
    }
}

/// Nobody waits for a collector to take something back, or is told that it was.
#[test]
fn what_could_not_be_taken_back_is_said() {
    let source = home();
    let bytes = packed(&source.store, &source.sample(&TINY).digest, &contents());
    let target = home();
    let before = target.files();
    let lock = target.store.lock(LockKey::Collector, &mut || ()).unwrap();
    let cut = bytes.len() - 2000;
    let error = unpack(&target.store, stream(&bytes[..cut])).unwrap_err();
    assert!(matches!(error, UnpackError::Left { left: TakeBackError::Busy, .. }), "{error}");
    assert!(error.to_string().contains("cut short"), "{error}");
    assert_ne!(target.files(), before);
    drop(lock);
    target.store.prune(&target.store.plan_prune(false).unwrap(), &mut || ()).unwrap();
    assert_eq!(target.files(), before);
    // In a drop, too.
    let arrived = arrive(&target.store, stream(&bytes), OPTIONS).unwrap();
    let lock = target.store.lock(LockKey::Collector, &mut || ()).unwrap();
    drop(arrived);
    drop(lock);
    let arrived = arrive(&target.store, stream(&bytes), OPTIONS).unwrap();
    arrived.take_back().unwrap();
}

/// Also what the store has by now.
#[test]
fn a_pack_is_verified_whatever_the_store_has() {
    let source = home();
    let digest = source.sample(&TINY).digest;
    let bytes = packed(&source.store, &digest, &contents());
    verify(&source.store, stream(&bytes)).unwrap();
    // Of the config, the first map, and the last blob.
    for at in [bytes.len() - 2000, 6000, 9000] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        for input in [stream(&changed), file(&changed)] {
            assert!(verify(&source.store, input).is_err() || bytes[at] == 0, "{at}");
        }
    }
}
