//! Clients that know nothing of Spore, and what they do with a snapshot in a registry.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use format::Digest;
use format::manifest::annotation;
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{SampleSpec, no_access};
use hub::{HubLocation, Registry, Selector};

use crate::world::{World, name, tag};

/// Where `scripts/install-deps.sh --tests` leaves oras-py.
const ORAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/oras");

/// A registry, and a sample that was pushed to it.
async fn pushed(test: &str) -> Option<(RealRegistry, Arc<dyn Registry>, World)> {
    let registry = RealRegistry::start(test, &RegistryOptions::default())?;
    let location = HubLocation::parse(&format!("oci://{}", registry.host())).unwrap();
    let hub = hub::open(&location, &no_access()).unwrap();
    let world = World::new(&SampleSpec::default());
    world.push_to(Arc::clone(&hub)).await.unwrap();
    Some((registry, hub, world))
}

#[track_caller]
fn assert_ended_well(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What others do with a snapshot on its way changes no byte of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_carries_it_byte_for_byte() {
    let test = "foreign_clients::skopeo_carries_it_byte_for_byte";
    let skopeo = |arguments: &[&str]| Command::new("skopeo").args(arguments).output();
    if skopeo(&["--version"]).is_err() {
        println!("skipped: {test}: skopeo is not installed");
        return;
    }
    let Some((registry, hub, world)) = pushed(test).await else { return };
    let layout = world.temp.path().join("layout");
    let (here, there) =
        (format!("oci:{}:carried", layout.display()), format!("docker://{}", registry.host()));
    for arguments in [
        ["--src-tls-verify=false", &format!("{there}/{}:{}", name(), tag()), &here],
        ["--dest-tls-verify=false", &here, &format!("{there}/carried/sample:1.0")],
    ] {
        assert_ended_well(&skopeo(&[&["--insecure-policy", "copy"], &arguments[..]].concat()).unwrap());
    }
    let carried = "carried/sample".parse().unwrap();
    let manifest = hub.get_manifest(&carried, &Selector::Tag(tag())).await.unwrap().unwrap();
    assert_eq!(manifest.digest(), world.sample.digest);
    let plan = hub::plan_pull(&world.target, hub, &carried, &Selector::Tag(tag())).await.unwrap();
    plan.execute(None, Arc::new(())).await.unwrap();
    world.target.load_snapshot(&world.sample.digest).unwrap();
}

/// oras makes a file of each part, and names it by the part's title.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oras_takes_its_parts_to_files() {
    const PULL: &str = "import sys, oras.client; oras.client.OrasClient(insecure=True).pull(sys.argv[1], outdir=sys.argv[2])";
    let test = "foreign_clients::oras_takes_its_parts_to_files";
    if !Path::new(ORAS).join("oras").exists() {
        println!("skipped: {test}: oras-py is not in {ORAS}");
        return;
    }
    let Some((registry, _, world)) = pushed(test).await else { return };
    let folder = world.temp.path().join("parts");
    let from = format!("{}/{}:{}", registry.host(), name(), tag());
    // Debian's, which has what oras-py needs.
    let mut oras = Command::new("/usr/bin/python3");
    let oras = oras.args(["-c", PULL, &from]).arg(&folder).env("PYTHONPATH", ORAS);
    assert_ended_well(&oras.output().unwrap());
    let layers = &world.sample.manifest.layers;
    assert_eq!(fs::read_dir(&folder).unwrap().count(), layers.len());
    for layer in layers {
        let file = fs::read(folder.join(&layer.annotations[annotation::TITLE])).unwrap();
        assert_eq!(Digest::of(&file), layer.digest);
    }
}
