//! `make hub`: a recipe is baked once, and published to whatever kind of hub the variable names.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::Path;

use catalog::Catalog;
use harness::needs::{Need, skipped};
use harness::run::{Outcome, Run};
use harness::{Spore, files, shared};
use hub::testing::garage::RealGarage;
use hub::testing::registry::{RealRegistry, RegistryOptions};
use tempfile::TempDir;

/// Runs the script for the recipe `tiny`, as a user whose home and work are in `folder`.
#[track_caller]
fn publish(folder: &Path, hub: &str) -> Outcome {
    script(folder, hub).finish().succeeds()
}

fn script(folder: &Path, hub: &str) -> Run {
    let mut run = Run::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/hub.sh"));
    // What changes what is tested: defaults of the caller's own hubs and roots.
    for name in ["SPORE_CONFIG", "SPORE_DEFAULT_HUB", "SPORE_ROOT", "SPORE_FORMAT", "REFRESH"] {
        run.command().env_remove(name);
    }
    run.args([hub, "tiny"])
        .env("SPORE", files::program())
        .env("HUB_ROOT", folder.join("work"))
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("config"))
}

/// A folder in which layers and kernels are that any test has baked.
fn workshop() -> TempDir {
    let folder = files::scratch("make-hub");
    shared::seed_cache(&folder.path().join("work/root"));
    folder
}

#[test]
fn folders_and_buckets_get_the_snapshot_and_its_catalogue_and_registries_the_snapshot() {
    let test = "make_hub::folders_and_buckets_get_the_snapshot_and_its_catalogue_and_registries_the_snapshot";
    if skipped(test, &[Need::Bake]) {
        return;
    }
    let workshop = workshop();
    let hub = workshop.path().join("hub");
    publish(workshop.path(), hub.to_str().unwrap());
    let catalog: Catalog = serde_json::from_slice(&fs::read(hub.join("catalog.json")).unwrap()).unwrap();
    let tags: Vec<_> = catalog.names[0].tags.iter().map(|entry| entry.tag.as_str()).collect();
    assert_eq!((catalog.names[0].name.as_str(), tags), ("tiny", vec!["1", "latest"]));
    assert!(hub.join("index.html").is_file());
    let digest = catalog.snapshots[0].digest.to_string();
    let user = Spore::new();
    let pulled = user.json(["pull", "--hub", hub.to_str().unwrap(), "tiny:1"]);
    assert_eq!(pulled["digest"], digest);

    if let Some(garage) = RealGarage::shared(test) {
        let bucket = garage.bucket("make-hub");
        let location = bucket.location("").to_string();
        let key = [("AWS_ACCESS_KEY_ID", &bucket.key().id), ("AWS_SECRET_ACCESS_KEY", &bucket.key().secret)];
        let with_key = |run: Run| key.iter().fold(run, |run, (name, value)| run.env(name, value));
        let published = with_key(script(workshop.path(), &location)).finish().succeeds();
        let text = published.text();
        assert!(text.contains("tiny is baked already") && text.contains("index.html"), "{published}");
        let pull = Spore::new().command(["pull", "--hub", &location, "tiny:1"]);
        let pulled = with_key(pull).finish().succeeds();
        assert!(pulled.text().contains(&digest), "{pulled}");
    }

    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    // By an alias, which does not look like a registry.
    let config = workshop.path().join("config/spore");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), format!("[hubs]\nlab = 'oci+http://{}'\n", registry.host()))
        .unwrap();
    let published = publish(workshop.path(), "lab");
    let text = published.text();
    assert!(text.contains("tiny is baked already") && text.contains("takes no pages"), "{published}");
    for tag in ["1", "latest"] {
        let pulled = Spore::new().json(["pull", &format!("{}/tiny:{tag}", registry.host())]);
        assert_eq!(pulled["digest"], digest);
    }
}
