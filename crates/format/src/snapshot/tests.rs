//! The closure, and each way in which manifest, config and maps can disagree.
use super::*;
use crate::map::{MapBlob, MapBuilder};
use crate::testing;

fn blob(name: &str, plain_pages: u64) -> MapBlob {
    let digest = Digest::of(format!("frames {name}").as_bytes());
    MapBlob { digest, size: 1000, plain_pages, index_offset: 900, index_length: 100, index_digest: digest }
}

fn layer_map(name: &str, pages: u64) -> Map {
    let mut builder = MapBuilder::new(pages);
    builder.blob(0, pages, &blob(name, pages), 0).unwrap();
    builder.finish().unwrap()
}

fn parts() -> (Config, Maps) {
    let config = testing::config(2, 8192);
    let mut memory = MapBuilder::new(1024);
    memory.blob(0, 10, &blob("memory", 10), 0).unwrap();
    memory.layer(500, 2, Digest::of(b"layer 1"), 0).unwrap();
    let mut writable = MapBuilder::new(256);
    writable.blob(3, 1, &blob("writable", 1), 0).unwrap();
    let disks = vec![layer_map("shared", 2), layer_map("shared", 2), writable.finish().unwrap()];
    (config, Maps { memory: memory.finish().unwrap(), disks })
}

fn manifest(config: &Config, maps: &Maps) -> Manifest {
    testing::manifest(config, b"config", maps, |_| 7)
}

#[test]
fn the_closure_is_in_order_and_each_blob_once() {
    let (config, maps) = parts();
    let roles: Vec<_> = closure(&config, &maps).into_iter().map(|part| part.role).collect();
    assert_eq!(roles.len(), 3 + 1 + 3 + 3, "{roles:?}");
    assert_eq!(&roles[..4], ["engine state", "kernel", "initrd", "memory map"]);
    assert_eq!(roles[7], "frames of memory");
    assert!(roles[8].starts_with("frames of disk layer0 (content sha256:"));
    assert_eq!(roles[9], "frames of disk writable");
    assert_eq!(check(&manifest(&config, &maps), &config, &maps), Ok(()));
}

#[test]
fn no_two_layers_have_one_title() {
    let (config, mut maps) = parts();
    let mut writable = MapBuilder::new(256);
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        writable.blob(n as u64, 1, &blob(name, 1), 0).unwrap();
    }
    maps.disks[2] = writable.finish().unwrap();
    let layers = testing::manifest(&config, b"config", &maps, |_| 7).layers;
    let titles: Vec<_> = layers.iter().map(|layer| layer.annotations[annotation::TITLE].as_str()).collect();
    let of_writable = ["", ", part 2", ", part 3"].map(|part| format!("frames of disk writable{part}"));
    assert_eq!(titles[titles.len() - 3..], of_writable);
    assert_eq!(titles.iter().collect::<HashSet<_>>().len(), titles.len());
}

#[test]
fn sizes_are_those_that_are_found_and_not_those_that_are_said() {
    let (config, maps) = parts();
    let found = |part: &Part| Ok::<_, ()>(if part.role == "frames of memory" { 999 } else { 1000 });
    let mut manifest = manifest(&config, &maps);
    manifest.layers = layers(&config, &maps, found).unwrap();
    let error = check(&manifest, &config, &maps).unwrap_err().to_string();
    assert!(error.contains("its map says 1000"), "{error}");
}

#[test]
fn a_manifest_that_lists_anything_else_is_refused() {
    let (config, maps) = parts();
    let refused = |change: fn(&mut Manifest), expected: &str| {
        let mut manifest = manifest(&config, &maps);
        change(&mut manifest);
        let error = check(&manifest, &config, &maps).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(|m| drop(m.layers.remove(9)), "frames of disk writable sha256:");
    refused(|m| m.layers.swap(0, 1), "not in order");
    refused(|m| m.layers[7].size += 1, "its map says 1000");
    refused(|m| m.layers[7].media_type = media_type::MAP.into(), "is declared as");
    refused(
        |m| {
            let mut extra = m.layers[0].clone();
            extra.digest = Digest::of(b"undeclared");
            m.layers.push(extra);
        },
        "nothing needs it",
    );
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut Config, &mut Maps), expected: &str| {
        let (mut config, mut maps) = parts();
        change(&mut config, &mut maps);
        let error = check(&manifest(&config, &maps), &config, &maps).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(|_, m| m.memory = layer_map("memory", 1), "memory map");
    refused(|_, m| m.disks[0] = layer_map("shared", 3), "map of disk layer0");
    refused(|_, m| m.disks[0] = MapBuilder::new(2).finish().unwrap(), "cover every page");
    refused(|_, m| drop(m.disks.pop()), "maps for 3 disks");
    refused(|c, _| c.disks[1].content = Some(Digest::of(b"other")), "points beyond, or to none of");
    refused(
        |_, m| {
            let mut memory = MapBuilder::new(1024);
            memory.layer(0, 2, Digest::of(b"layer 1"), 1).unwrap();
            m.memory = memory.finish().unwrap();
        },
        "points beyond, or to none of",
    );
    refused(
        |_, m| {
            let mut writable = MapBuilder::new(256);
            writable.layer(0, 1, Digest::of(b"layer 1"), 0).unwrap();
            m.disks[2] = writable.finish().unwrap();
        },
        "only memory may point into layers",
    );
    refused(
        |_, m| {
            let mut memory = MapBuilder::new(1024);
            (0..5).for_each(|n| memory.blob(n, 1, &blob("memory", 1), 0).unwrap());
            m.memory = memory.finish().unwrap();
        },
        "lays out 5 pages of 1 stored",
    );
}
