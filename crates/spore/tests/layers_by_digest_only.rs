//! A fork has the layers that its snapshot declares by digest, all of them, in order, and no others
//! (cocoonstack/cocoon #46: a clone was given the layers of another image whose tag looked alike).

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "layers/engine.rs"]
mod engine;
mod harness;
#[path = "layers/world.rs"]
mod world;

use std::fs;

use engine::Liar;
use harness::needs::{Need, skipped};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use world::{SHARED, World};

#[test]
fn layers_by_digest_only() {
    if skipped("layers_by_digest_only", &[Need::Bake, Need::Skopeo]) {
        return;
    }
    let Some(registry) = RealRegistry::start("layers_by_digest_only", &RegistryOptions::default()) else {
        return;
    };
    let world = World::new(&registry);
    images_that_look_alike_keep_their_layers(&world);
    a_missing_layer_is_named(&world);
    a_missing_layer_is_fetched_by_digest(&world);
    tags_decide_nothing(&world);
    an_engine_that_attaches_something_else_is_ended(&world);
    world.user.fsck();
}

fn images_that_look_alike_keep_their_layers(world: &World) {
    let World { short, long, .. } = world;
    let (of_short, of_long) = (short.contents(), long.contents());
    assert_eq!((of_short.len(), of_long.len()), (6, 11));
    assert_eq!(of_short[..SHARED], of_long[..SHARED], "they share their lowest layers");
    assert!(of_short[SHARED..].iter().all(|content| !of_long.contains(content)));
    for image in [short, long] {
        world.assert_forks_as(&image.name, image);
        world.assert_forks_as(&format!("cocoon@{}", image.digest), image);
    }
    // Equal layers lie there once.
    let flat = harness::files::entries(&world.user.root().join("flat"));
    let is_layer = |path: &&std::path::PathBuf| path.to_string_lossy().contains("/layer-");
    assert_eq!(flat.iter().filter(is_layer).count(), SHARED + 2 + 7);
}

/// Takes the frames of a layer of the long image away from the host, with what was laid out of them.
fn forget_layer(world: &World, number: usize) -> String {
    let blob = world.long.blob_of_layer(number).digest;
    let root = world.user.root();
    fs::remove_file(root.join("blobs/sha256").join(blob.hex())).unwrap();
    fs::remove_file(root.join("flat").join(format!("layer-{}", world.long.contents()[number]))).unwrap();
    blob.to_string()
}

fn a_missing_layer_is_named(world: &World) {
    let World { user, hub, short, long, .. } = world;
    let gone = forget_layer(world, 7);
    let in_hub = hub.join("blobs/sha256").join(gone.replace("sha256:", ""));
    let aside = world.folder().join("aside");
    fs::rename(&in_hub, &aside).unwrap();
    let by_digest = format!("cocoon@{}", long.digest);
    let says = [gone.as_str(), "layer7", &long.contents()[7]];
    world.pull(long).exits_with(3).says(&says);
    user.run(["fork", &long.name]).exits_with(3).says(&says);
    user.run(["fork", &by_digest]).exits_with(3).says(&says);
    // Nor without the hub.
    let hub_aside = world.folder().join("hub-aside");
    fs::rename(hub, &hub_aside).unwrap();
    let without_hub = user.run(["fork", &by_digest]).says(&[gone.as_str()]);
    assert!(!without_hub.status.success(), "{without_hub}");
    fs::rename(&hub_aside, hub).unwrap();
    user.assert_no_sandboxes();
    // What does not need it is as it was.
    world.assert_forks_as(&short.name, short);
    fs::rename(&aside, &in_hub).unwrap();
}

fn a_missing_layer_is_fetched_by_digest(world: &World) {
    let World { user, long, .. } = world;
    world.assert_forks_as(&long.name, long);
    let size = long.blob_of_layer(9).size;
    let gone = forget_layer(world, 9);
    let pulled = user.json(["pull", "--hub", world.hub.to_str().unwrap(), &long.name]);
    assert_eq!(pulled["fetched_bytes"], size, "more than {gone} was fetched: {pulled}");
    world.assert_forks_as(&long.name, long);
}

fn tags_decide_nothing(world: &World) {
    let World { user, short, long, .. } = world;
    let running = user.fork(&long.name, 1);
    // Both tags now lead to the short image, here and in the hub.
    user.run(["push", &short.name, &long.name, "--hub", world.hub.to_str().unwrap()]).succeeds();
    world.pull(long).succeeds();
    assert_eq!(user.sh(&running[0], "cat /top"), "long-10", "a running sandbox has changed");
    user.run(["kill", &running[0]]).succeeds();
    world.assert_forks_as(&long.name, short);
    let by_digest = format!("cocoon@{}", long.digest);
    world.assert_forks_as(&by_digest, long);
    world.assert_forks_as(&format!("{}@{}", short.name, long.digest), long);
}

fn an_engine_that_attaches_something_else_is_ended(world: &World) {
    let World { user, long, .. } = world;
    let fork = |liar: &Liar| {
        let command = user.command(["fork", &format!("cocoon@{}", long.digest)]);
        liar.run(command, &user.root().join("sandboxes"))
    };
    let size = |number: usize| long.frozen.config.disks[number].size;
    for Lie { change, found } in lies(size) {
        let liar = Liar::new(world.folder(), &change);
        let (outcome, trace) = fork(&liar);
        if change == WRITABLE && !rustix::process::geteuid().is_root() {
            // The layer's file forbids it before anybody can compare.
            outcome.exits_with(1).says(&["Permission denied"]);
        } else {
            // Not by the engine, which finds the state unfit for some of these machines, but by what it says is attached.
            outcome.exits_with(5).says(&["the engine was ended", &found]);
        }
        assert!(!trace.has_run(), "the guest has run with other disks: {change}");
        user.assert_no_sandboxes();
    }
    // A script that changes nothing is an engine as any other, and its record shows it.
    let honest = Liar::new(world.folder(), "");
    let (outcome, trace) = fork(&honest);
    let id = outcome.succeeds().text().to_owned();
    assert!(trace.has_run());
    user.run(["kill", &id]).succeeds();
}

/// What an engine does instead of what it was told.
struct Lie {
    /// See [`Liar::new`].
    change: String,
    /// What is to be said of it.
    found: String,
}

/// Attaches a layer so that the guest can write to it.
const WRITABLE: &str =
    r#"*'"filename":"layer2"'*) argument=${argument//'"read-only":true'/'"read-only":false'} ;;"#;

fn lies(size: impl Fn(usize) -> u64) -> Vec<Lie> {
    let (three, four) = (r#""filename":"layer3""#, r#""filename":"layer4""#);
    let swap = format!(
        "*'{three}'*) argument=${{argument/'{three}'/'{four}'}} ;;
         *'{four}'*) argument=${{argument/'{four}'/'{three}'}} ;;"
    );
    let zeros = format!(
        r#"*'"filename":"layer5"'*) argument='{{"driver":"null-co","node-name":"layer5","size":{},"read-only":true}}' ;;"#,
        size(5)
    );
    let more = "-S) arguments+=(-blockdev driver=null-co,node-name=more,size=4096 \
                -device virtio-blk-pci,drive=more,id=layer11) ;;&";
    // Each is the value of an option, which goes too.
    let fewer = r#"*'"node-name":"layer'[6-9]'"'*|*'"node-name":"layer10"'*|*id=layer[6-9],*|*id=layer10,*)
                   unset 'arguments[-1]'; continue ;;"#;
    let lie = |change: &str, found: String| Lie { change: change.to_owned(), found };
    vec![
        lie(
            &swap,
            format!(
                "layer3 should be layer3 with layer3, {} bytes, read-only, but it reports layer3 with layer4",
                size(3)
            ),
        ),
        lie(&zeros, "layer5 with no file".to_owned()),
        lie(WRITABLE, format!("layer2 with layer2, {} bytes, writable", size(2))),
        lie(more, "reports layer11".to_owned()),
        // Of 11 layers the lowest 6, as it was reported.
        lie(fewer, "layer6 should be layer6 with layer6".to_owned()),
    ]
}
