//! A pack takes little memory, however fragmented the maps in it are: the worst that the format allows are read and checked
//! within the bound of every command.
//!
//! The one test of this executable, since it looks at how much memory its process has ever had at once.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, clippy::print_stdout)]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;

use format::map::MapBuilder;
use format::testing::{Contents, fragmented, map_blob};
use format::{Digest, Map};
use pack::{Input, UnpackError, UnpackOptions, plan_unpack};
use serde_json::json;
use store::{Store, TagAs};

/// What no command may exceed.
const BOUND_BYTES: u64 = 200_000_000;
/// More than a manifest of the largest size can list: titles are long.
const LAYER_BLOBS: u64 = 12_000;

fn layer() -> Map {
    let mut builder = MapBuilder::new(LAYER_BLOBS);
    for n in 0..LAYER_BLOBS {
        builder.blob(n, 1, &map_blob(&format!("layer {n}"), 1), 0).expect("it fits");
    }
    builder.finish().expect("a map")
}

/// A pack of a snapshot with such maps, and without frames.
fn pack() -> File {
    let blobs = RefCell::new(Vec::new());
    let contents = Contents {
        state: "state",
        memory: fragmented("memory").expect("a map"),
        layers: vec![(Digest::of(b"layer"), layer())],
        writable: fragmented("writable").expect("a map"),
    };
    let sample = contents
        .put(|bytes| {
            blobs.borrow_mut().push(bytes.to_vec());
            Ok(Digest::of(bytes))
        })
        .expect("a snapshot");
    let manifest = sample.manifest.encode().expect("it fits");
    assert!(manifest.len() > 2 << 20, "{}", manifest.len());
    let entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sample.digest, "size": manifest.len(),
    });
    let mut builder = tar::Builder::new(tempfile::tempfile().expect("a file"));
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).expect("it can be written");
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    put("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().as_bytes());
    for bytes in blobs.borrow().iter() {
        put(&format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes);
    }
    let mut file = builder.into_inner().expect("it can be written");
    file.flush().expect("it can be written");
    file
}

/// The most memory that the process had at once since it was asked last, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the process can be looked at");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    fs::write("/proc/self/clear_refs", "5").expect("it can be counted anew");
    kib << 10
}

#[test]
fn the_worst_maps_are_read_in_bounded_memory() {
    let file = pack();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("root")).unwrap();
    peak();
    let before = peak();
    let options = UnpackOptions { max_bytes: None, lay_out: true, may_lack: false };
    let plan = plan_unpack(&store, Input::File(file), options).unwrap();
    let read = peak();
    let tag = TagAs { name: "local/worst:1".parse().unwrap(), may_move: false };
    let refused = plan.execute(&tag, &()).unwrap_err();
    let refused_peak = peak();
    assert!(matches!(refused, UnpackError::Missing { .. } | UnpackError::Space(_)), "{refused}");
    let mb = |bytes: u64| bytes / 1_000_000;
    println!("{} MB before, {} to plan, {} to refuse", mb(before), mb(read), mb(refused_peak));
    assert!(read.max(refused_peak) < BOUND_BYTES, "{read}, {refused_peak}");
}
