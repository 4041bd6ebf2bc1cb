//! What `inspect` says is attached to a sandbox is what lies in its folder, not what its snapshot declares.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::needs::{Need, skipped};
use harness::run::DEADLINE;
use harness::shared::Shared;
use harness::{Spore, processes, recipes};
use serde_json::{Value, json};

#[test]
fn attached_is_looked_at() {
    if skipped("attached_is_looked_at", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let config = spore.json(["inspect", &name])["config"].clone();
    let ids = spore.fork(&name, 2);
    let (id, other) = (ids[0].as_str(), ids[1].as_str());
    let attached = |id: &str| spore.json(["inspect", id])["attached"].clone();
    let digests = |attached: &Value| -> Vec<Value> {
        attached.as_array().unwrap().iter().map(|one| one["digest"].clone()).collect()
    };
    let disks = config["disks"].as_array().unwrap();
    let of_disk =
        |disk: &Value| if disk["role"] == "layer" { disk["content"].clone() } else { disk["map"].clone() };
    let declared: Vec<_> =
        [config["memory"]["map"].clone()].into_iter().chain(disks.iter().map(of_disk)).collect();
    assert_eq!(digests(&attached(id)), declared);

    // Flat files are a cache, but not while somebody uses them.
    spore.run(["prune", "--all"]).succeeds();
    assert_eq!(digests(&attached(id)), declared);

    // The same bytes, but whose they are nobody knows.
    let layer = spore.root().join("sandboxes").join(id).join("layer0");
    let copy = layer.with_extension("copy");
    fs::copy(&layer, &copy).unwrap();
    fs::rename(&copy, &layer).unwrap();
    let says = format!("not the snapshot's: {}", layer.display());
    let outcome = spore.run(["inspect", id]).exits_with(5).says(&["spore kill"]);
    let shown = outcome.text();
    assert!(shown.contains(&says) && shown.contains(declared[0].as_str().unwrap()), "{outcome}");
    let document = spore.run(["inspect", id, "--format", "json"]).exits_with(5).json();
    let layer0 = &document["attached"][1];
    assert_eq!((&layer0["name"], &layer0["digest"]), (&json!("layer0"), &Value::Null), "{document}");
    assert_eq!(layer0["declared"], declared[1]);
    assert_eq!(digests(&attached(other)), declared, "its sibling is as it was");

    // Nothing is attached to what has ended.
    let folder = layer.parent().unwrap();
    processes::kill(&processes::in_folder(folder));
    let end = Instant::now() + DEADLINE;
    while !processes::in_folder(folder).is_empty() {
        assert!(Instant::now() < end, "SIGKILL has not ended it");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(attached(id), json!([]));
}
