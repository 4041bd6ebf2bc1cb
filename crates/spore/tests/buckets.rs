//! Buckets on the command line: `--hub s3://…`, an alias for one, AWS's credentials, tickets, and `spore hub prune`.
//!
//! The snapshot is one that no engine can run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]

mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::Spore;
use hub::testing::garage::{Bucket, RealGarage};
use hub::testing::{SampleSpec, put_sample};
use store::Store;

/// A user with a snapshot, and with the bucket's key or without.
fn user(bucket: Option<&Bucket>) -> Spore {
    let key = bucket.map(Bucket::key);
    let spore = Spore::new()
        .env("AWS_ACCESS_KEY_ID", key.map_or("", |key| &key.id))
        .env("AWS_SECRET_ACCESS_KEY", key.map_or("", |key| &key.secret));
    let store = Store::open(spore.root()).unwrap();
    let sample = put_sample(&store, &SampleSpec::default()).unwrap();
    store.set_ref(&"local/sample:1".parse().unwrap(), &sample.digest, None).unwrap();
    spore
}

#[test]
fn a_bucket_is_a_hub_as_any() {
    let Some(garage) = RealGarage::shared("a_bucket_is_a_hub_as_any") else { return };
    let bucket = garage.bucket("as-any");
    let location = bucket.location("team").to_string();
    let baker = user(Some(&bucket));
    let pushed = baker.json(["push", "sample:1", "--hub", &location]);
    assert!(pushed["sent_bytes"].as_u64().unwrap() > 0, "{pushed}");
    assert_eq!(baker.json(["push", "sample:1", "--hub", &location])["sent_bytes"], 0);

    let puller = Spore::new()
        .env("AWS_ACCESS_KEY_ID", &bucket.key().id)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.key().secret);
    let config = puller.root().parent().unwrap().join("config/spore");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), format!("[hubs]\nacme = {location:?}\n")).unwrap();
    let pulled = puller.json(["pull", "acme/sample:1"]);
    assert_eq!(pulled["digest"], pushed["digest"]);
    puller.run(["inspect", "acme/sample:1"]).succeeds();

    let stranger = user(None);
    stranger
        .run(["push", "sample:1", "--hub", &location])
        .exits_with(1)
        .says(&["permission denied", "without credentials"]);
    let missing = location.replace("as-any", "is-missing");
    baker.run(["push", "sample:1", "--hub", &missing]).exits_with(3).says(&["no bucket is-missing"]);
    baker.run(["pull", "sample:1", "--hub", "s3://A"]).exits_with(2).says(&["a bucket's name"]);
}

#[test]
fn a_ticket_is_enough_to_push() {
    let Some(garage) = RealGarage::shared("a_ticket_is_enough_to_push") else { return };
    let bucket = garage.bucket("by-ticket");
    let location = bucket.location("").to_string();
    let (trusted, untrusted) = (user(Some(&bucket)), user(None));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (manifest, ticket) = (path("manifest.json"), path("ticket.json"));
    fs::write(&manifest, untrusted.run(["inspect", "sample:1", "--manifest"]).succeeds().stdout).unwrap();
    let signed =
        trusted.run(["push", "--presign", &manifest, "team/sample:2", "--hub", &location]).succeeds();
    fs::write(&ticket, signed.stdout).unwrap();
    let pushed = untrusted.json(["push", "sample:1", "--ticket", &ticket]);
    assert_eq!((pushed["name"].as_str(), pushed["tag"].as_str()), (Some("team/sample"), Some("2")));
    let pulled = trusted.json(["pull", "team/sample:2", "--hub", &location]);
    assert_eq!(pulled["digest"], pushed["digest"]);

    fs::write(path("none.json"), "{}").unwrap();
    untrusted.run(["push", "sample:1", "--ticket", &path("none.json")]).exits_with(2).says(&["not a ticket"]);
    let forever = ["push", "--presign", &manifest, "sample:2", "--hub", &location, "--expires", "8d"];
    trusted.run(forever).exits_with(2).says(&["84 hours"]);
    let folder = ["push", "--presign", &manifest, "sample:2", "--hub", &path("hub")];
    trusted.run(folder).exits_with(2).says(&["only uploads to a bucket"]);
}

#[test]
fn prune_takes_what_no_tag_leads_to() {
    let Some(garage) = RealGarage::shared("prune_takes_what_no_tag_leads_to") else { return };
    let bucket = garage.bucket("to-prune");
    let location = bucket.location("").to_string();
    let user = user(Some(&bucket));
    user.json(["push", "sample:1", "--hub", &location]);
    let store = Store::open(user.root()).unwrap();
    let other = put_sample(&store, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    store.set_ref(&"local/other:1".parse().unwrap(), &other.digest, None).unwrap();
    user.json(["push", "other:1", "sample:1", "--hub", &location]);
    let planned = user.json(["hub", "prune", &location]);
    assert_eq!((planned["removed"].as_u64(), planned["plan"]["bytes"].as_u64()), (Some(0), Some(0)));
    user.run(["hub", "prune", &location, "--grace", "1s"]).exits_with(2).says(&["--nobody-pushes"]);
    let now = ["hub", "prune", &location, "--grace", "1s", "--nobody-pushes"];
    let deadline = Instant::now() + Duration::from_secs(60);
    let planned = loop {
        let planned = user.json(now.iter().chain(&["--dry-run"]));
        if planned["plan"]["items"].as_array().unwrap().len() > 5 {
            break planned;
        }
        assert!(Instant::now() < deadline, "it does not get old: {planned}");
    };
    assert!(planned["removed"].is_null(), "{planned}");
    assert_eq!(user.json(now)["freed_bytes"], planned["plan"]["bytes"]);
    user.json(["pull", "sample:1", "--hub", &location]);
    assert_eq!(user.json(now)["removed"], 0);
}
