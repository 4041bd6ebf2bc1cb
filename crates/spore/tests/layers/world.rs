//! Two images that look alike, in a registry: `xface-20260513`, of 6 layers, and `xface`, which was rebuilt to 11. They share
//! the lowest four.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use format::map::MapBlob;
use format::{Digest, Map};
use hub::testing::registry::RealRegistry;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::frozen::{Frozen, decoder};
use crate::harness::image::{self, Layer};
use crate::harness::run::{Outcome, Run};
use crate::harness::shared::{Shared, seed_cache};
use crate::harness::{Spore, files, recipes};

/// Layers that both have.
pub const SHARED: usize = 4;
const SHORT: &str = "xface-20260513";
const LONG: &str = "xface";

/// An image in the hub.
pub struct Image {
    pub tag: &'static str,
    /// Its name, as verbs take it.
    pub name: String,
    pub digest: Digest,
    pub frozen: Frozen,
}

impl Image {
    /// The digests of its layers' bytes, the lowest first, as its config declares them.
    pub fn contents(&self) -> Vec<String> {
        self.frozen.config.layers().filter_map(|disk| disk.content).map(|content| content.hex()).collect()
    }

    /// The one frame blob of a layer.
    pub fn blob_of_layer(&self, number: usize) -> MapBlob {
        let map = self.frozen.config.disks[number].map;
        let map = Map::parse(&fs::read(self.frozen.path(&map)).unwrap()).unwrap();
        assert_eq!(map.blobs().len(), 1);
        map.blobs()[0].clone()
    }
}

/// A hub that holds both, and a host that has pulled both.
pub struct World {
    pub user: Spore,
    pub hub: PathBuf,
    pub short: Image,
    pub long: Image,
    folder: TempDir,
}

impl World {
    #[track_caller]
    pub fn new(registry: &RealRegistry) -> Self {
        let folder = files::scratch("layers");
        let hub = folder.path().join("hub");
        let builder = Spore::new();
        seed_cache(builder.root());
        let recipe = folder.path().join("recipe");
        write_userland(&recipe.join("layers"));
        let bake = |tag, own: &[&str]| {
            write_recipe(&recipe, registry, tag, own);
            let name = format!("cocoon:{tag}");
            let baked = Run::finish(
                builder
                    .command(["bake", recipe.to_str().unwrap(), "--name", &name, "--format", "json"])
                    .deadline(std::time::Duration::from_secs(540)),
            );
            let digest = baked.succeeds().json()["digest"].as_str().unwrap().parse().unwrap();
            builder.run(["push", &name, "--hub", hub.to_str().unwrap()]).succeeds();
            Image { tag, name, digest, frozen: Frozen::open(&hub, &digest) }
        };
        let short = bake(SHORT, &["short-4", "short-5"]);
        let long = bake(LONG, &["long-4", "long-5", "long-6", "long-7", "long-8", "long-9", "long-10"]);
        let user = Spore::new();
        for image in [&short, &long] {
            user.run(["pull", "--hub", hub.to_str().unwrap(), &image.name]).succeeds();
        }
        Self { user, hub, short, long, folder }
    }

    pub fn pull(&self, image: &Image) -> Outcome {
        self.user.run(["pull", "--hub", self.hub.to_str().unwrap(), &image.name])
    }

    /// A folder for what a test needs besides.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Forks `reference`, asserts that the fork has exactly the layers of `image`, and ends it.
    #[track_caller]
    pub fn assert_forks_as(&self, reference: &str, image: &Image) {
        let ids = self.user.fork(reference, 1);
        assert_eq!(layers_in_guest(&self.user, &ids[0]), image.contents(), "{reference}");
        let layers = image.contents().len();
        let lowest_last: Vec<_> = (0..layers).rev().map(|number| format!("/{number}")).collect();
        let mounted =
            self.user.sh(&ids[0], "sed -n 's/^overlay .*lowerdir=\\([^,]*\\).*/\\1/p' /proc/mounts");
        assert_eq!(mounted, lowest_last.join(":"), "{reference}");
        let own = if image.tag == SHORT { "short" } else { "long" };
        // Read from the disk: what the guest had cached when it was frozen would prove nothing.
        let top = format!("echo 3 > /proc/sys/vm/drop_caches; cat /top /layers/{own}-{}", layers - 1);
        let text = format!("{own}-{0}\n{own}-{0}", layers - 1);
        assert_eq!(self.user.sh(&ids[0], &top), text, "{reference}");
        self.user.run(["kill", &ids[0]]).succeeds();
        self.user.assert_no_sandboxes();
    }
}

/// The sha256 of each layer disk as the guest reads it, by the number in its serial.
#[track_caller]
fn layers_in_guest(spore: &Spore, id: &str) -> Vec<String> {
    let script = "for disk in /sys/block/vd*; do
            case $(cat $disk/serial) in layer*)
                sum=$(dd if=/dev/${disk##*/} bs=4096 iflag=direct 2>/dev/null | sha256sum)
                echo $(cat $disk/serial) ${sum%% *};;
            esac
        done";
    let found = spore.sh(id, script);
    let mut layers: Vec<_> =
        found.lines().map(|line| line.split_once(' ').expect("serial and sum")).collect();
    layers.sort_by_key(|(serial, _)| serial["layer".len()..].parse::<usize>().expect("a number"));
    for (number, (serial, _)) in layers.iter().enumerate() {
        assert_eq!(*serial, format!("layer{number}"), "{found}");
    }
    layers.into_iter().map(|(_, sum)| sum.to_owned()).collect()
}

/// Folders `base-0` and `base-1`: what the layers of the tiny snapshot hold.
#[track_caller]
fn write_userland(folder: &Path) {
    let tiny = Shared::of(&recipes::shipped("tiny"));
    let manifest = fs::read(tiny.hub.join("v2/tiny/manifests/latest")).unwrap();
    let frozen = Frozen::open(&tiny.hub, &Digest::of(&manifest));
    fs::create_dir_all(folder).unwrap();
    for (number, disk) in frozen.config.layers().enumerate() {
        let image = folder.join("image");
        let mut out = File::create(&image).unwrap();
        let map = Map::parse(&fs::read(frozen.path(&disk.map)).unwrap()).unwrap();
        for blob in map.blobs() {
            io::copy(&mut decoder(&frozen.path(&blob.digest)).unwrap(), &mut out).unwrap();
        }
        let target = folder.join(format!("base-{number}"));
        let extract = format!("--extract={}", target.display());
        Run::new("fsck.erofs").args([extract.as_ref(), image.as_os_str()]).finish().succeeds();
        fs::remove_file(image).unwrap();
    }
}

/// An image of the userland, two layers more that all have, and layers of its own, and a recipe of it. Each layer has a file with
/// its name, and one that hides that of the layers below.
#[track_caller]
fn write_recipe(folder: &Path, registry: &RealRegistry, tag: &str, own: &[&str]) {
    let userland =
        ["base-0", "base-1"].map(|name| Layer::new().tree(&folder.join("layers").join(name)).build());
    let named = ["shared-2", "shared-3"].iter().chain(own).map(|name| {
        let line = format!("{name}\n");
        let layer = Layer::new().file(&format!("layers/{name}"), line.as_bytes(), 0o644, 0);
        layer.file("top", line.as_bytes(), 0o644, 0).build()
    });
    let layers: Vec<_> = userland.into_iter().chain(named).collect();
    let layout = folder.join(tag);
    image::write_layout(&layout, &layers, &json!({}));
    image::push(&layout, registry, &format!("cocoon:{tag}"), "oci");
    let text = format!(
        "name = \"cocoon\"\nversion = \"1\"\n[base]\nimage = \"docker://{}/cocoon:{tag}\"\n\
         [machine]\nmemory = \"128MiB\"\ndisk = \"64MiB\"\n",
        registry.host()
    );
    fs::write(folder.join("recipe.toml"), text).unwrap();
}
