//! A snapshot's agent is as old as the snapshot. One that speaks the first version of the protocol is forked, taken up by a new
//! supervisor and asked for all that it knows; of what it does not know each verb says so, and leaves nothing.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engine::qemu::{Options, Qemu};
use harness::needs::{Need, find_program, say_skipped, skipped};
use harness::run::Run;
use harness::shared::{Shared, seed_cache};
use harness::{Spore, files, processes, recipes};
use rootfs::{Mirrors, NoRegistries, Progress, Recipe};
use sandbox::bake::{Bake, BakeOptions};
use store::Store;

/// What a verb says of a snapshot that is too old for it.
const TOO_OLD: &[&str] = &["protocol 1", "2 is needed", "bake the snapshot again"];

#[test]
fn an_agent_of_the_first_version_does_what_it_can() {
    if skipped("old_agents", &[Need::Bake]) {
        return;
    }
    let Some(agent) = agent() else { return };
    // What is slow to make is there afterwards.
    Shared::of(&recipes::shipped("tiny"));
    let spore = Spore::new();
    bake(&spore, &fs::read(agent).expect("an agent"));

    let id = spore.fork("tiny", 1).remove(0);
    assert_eq!(spore.sh(&id, "hostname"), id, "it has taken its identity");
    spore.command(["exec", "-i", &id, "--", "cat"]).stdin(*b"input").finish().succeeds();
    spore.run(["exec", &id, "--", "sh", "-c", "exit 3"]).exits_with(3);
    let supervisor = spore.json(["ps"])["sandboxes"][0]["supervisor_pid"].clone();
    let mut running = processes::in_folder(spore.root());
    running.retain(|process| supervisor == process.pid);
    processes::kill(&running);
    assert_eq!(spore.sh(&id, "hostname"), id, "it was taken up");

    let folder = files::scratch("old");
    let file = folder.path().join("file");
    fs::write(&file, "content").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let to = format!("{id}:/tmp");
    spore.run(["cp", file, &to]).exits_with(1).says(TOO_OLD);
    spore.run(["cp", &format!("{id}:/etc/passwd"), file]).exits_with(1).says(TOO_OLD);
    assert_eq!(fs::read_to_string(file).ok().as_deref(), Some("content"));
    if find_program("script").is_some() {
        let shell =
            format!("{} --root {} exec -t {id} -- true", files::program().display(), spore.root().display());
        let shown =
            Run::new("script").args(["--quiet", "--return", "--command", &shell, "/dev/null"]).finish();
        assert!(String::from_utf8_lossy(&shown.stdout).contains("protocol 1"), "{shown}");
        assert_eq!(shown.status.code(), Some(125), "{shown}");
    } else {
        say_skipped("old_agents: -t", "missing: script");
    }
    let secret = format!("key={file}");
    for wanted in [["-p", "0:80"], ["-e", "A=1"], ["--secret", &secret]] {
        spore.run([&["fork", "tiny"][..], &wanted].concat()).exits_with(1).says(TOO_OLD);
    }
    assert_eq!(spore.sandboxes(), [id.as_str()], "nothing is left of them");
    assert_eq!(spore.sh(&id, "echo here"), "here");
}

/// The agent, built to speak the first version; kept for the next time.
fn agent() -> Option<PathBuf> {
    const BUILD_DEADLINE: Duration = Duration::from_secs(540);
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = files::workspace_temp().join("agent-protocol-1");
    let mut build = Run::new(env!("CARGO")).args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "agent",
        "--features",
        "protocol-1",
        "--target",
        &target,
    ]);
    build
        .command()
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    // Nothing of the outer build's steers this one. Optimising what runs once would take most of the time.
    for (name, _) in std::env::vars_os() {
        let steers = name.to_str().is_some_and(|name| name.starts_with("CARGO_") && name != "CARGO_HOME");
        if steers || name == "RUSTFLAGS" {
            build.command().env_remove(name);
        }
    }
    let build = build
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    let built = build.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16").deadline(BUILD_DEADLINE).finish();
    if !built.status.success() {
        say_skipped("old_agents", &format!("the agent cannot be built: {}", built.error().trim()));
        return None;
    }
    Some(folder.join(target).join("release/agent"))
}

/// Bakes the smallest recipe with this agent.
#[track_caller]
fn bake(spore: &Spore, agent: &[u8]) {
    seed_cache(spore.root());
    let store = Store::open(spore.root()).expect("a store");
    let cache = store.cache_folder().join("engine");
    fs::create_dir_all(&cache).expect("a folder");
    let environment = Options::from_environment().expect("what chooses the engine");
    let options = Options { cache: Some(cache.join("qemu.json")), ..environment };
    let mut engine = Qemu::discover(options).expect("an engine");
    let recipe = Recipe::load(&recipes::shipped("tiny")).expect("a recipe");
    let options = BakeOptions {
        name: None,
        tag: None,
        kernel: None,
        max_base: None,
        mirrors: Mirrors::from_environment().expect("mirrors"),
        registries: &NoRegistries,
        refresh: false,
        agent,
        agent_version: "1",
        runners: &[],
        created_at: "2020-01-01T00:00:00Z".to_owned(),
    };
    let interrupted = AtomicBool::new(false);
    let bake = Bake {
        store: &store,
        recipe: &recipe,
        options: &options,
        progress: &Silent,
        interrupted: &interrupted,
    };
    bake.run(&mut engine).expect("it is baked");
}

/// Nobody hears of progress.
struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: &str) {}
}
