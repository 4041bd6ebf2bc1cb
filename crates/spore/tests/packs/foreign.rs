//! Packs to and from OCI tools that know nothing of Spore.

use std::fs;
use std::path::Path;

use crate::harness::Spore;
use crate::harness::needs::{find_program, say_skipped};
use crate::harness::run::Run;
use crate::{baker, in_folder};
use hub::testing::registry::{RealRegistry, RegistryOptions};

/// Where `scripts/install-deps.sh --tests` leaves oras-py.
const ORAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/oras");

#[test]
fn skopeo_takes_it_to_a_registry_and_back() {
    let test = "packs::foreign::skopeo_takes_it_to_a_registry_and_back";
    if find_program("skopeo").is_none() {
        return say_skipped(test, "skopeo is not installed");
    }
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let skopeo = |args: &[&str]| {
        Run::new("skopeo").args(["--insecure-policy", "copy"]).args(args).finish().succeeds();
    };
    let (baker, folder) = baker();
    let (file, back) = (in_folder(&folder, "base.spore"), in_folder(&folder, "back.tar"));
    let digest = baker.json(["pack", "base:1", "-o", &file])["digest"].clone();
    let there = format!("docker://{}/team/base:1", registry.host());
    skopeo(&["--dest-tls-verify=false", &format!("oci-archive:{file}"), &there]);
    let user = Spore::new().env("XDG_RUNTIME_DIR", "/nonexistent");
    let pulled = user.json(["pull", "team/base:1", "--hub", &format!("oci+http://{}", registry.host())]);
    assert_eq!(pulled["digest"], digest);

    skopeo(&["--src-tls-verify=false", &there, &format!("oci-archive:{back}:team/base:1")]);
    let other = Spore::new();
    let unpacked = other.json(["unpack", &back]);
    assert_eq!((&unpacked["digest"], unpacked["name"].as_str()), (&digest, Some("local/team/base:1")));
    other.fsck();
    // It writes blobs first, which only a file can be read in.
    let piped = Spore::new().command(["unpack", "-"]).stdin(fs::read(&back).unwrap()).finish();
    piped.exits_with(2).says(&["give the pack as a file"]);
}

/// oras reads image layouts in folders: a pack that was unpacked by tar is one.
#[test]
fn oras_takes_it_to_a_registry() {
    const PUSH: &str = "import sys, oras.provider, oras.layout.layout as layout; \
        layout.NewLayout(sys.argv[1]).push_to_registry(oras.provider.Registry(insecure=True), sys.argv[2], tag=sys.argv[3])";
    let test = "packs::foreign::oras_takes_it_to_a_registry";
    if !Path::new(ORAS).join("oras").exists() {
        return say_skipped(test, &format!("oras-py is not in {ORAS}"));
    }
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (baker, folder) = baker();
    let (file, layout) = (in_folder(&folder, "base.spore"), in_folder(&folder, "layout"));
    let digest = baker.json(["pack", "base:1", "-o", &file])["digest"].clone();
    fs::create_dir(&layout).unwrap();
    Run::new("tar").args(["-xf", &file, "-C", &layout]).finish().succeeds();
    let there = format!("{}/team/base:1", registry.host());
    // Debian's, which has what oras-py needs.
    let oras = Run::new("/usr/bin/python3").args(["-c", PUSH, &layout, &there, "base:1"]);
    oras.env("PYTHONPATH", ORAS).finish().succeeds();
    let user = Spore::new().env("XDG_RUNTIME_DIR", "/nonexistent");
    let pulled = user.json(["pull", "team/base:1", "--hub", &format!("oci+http://{}", registry.host())]);
    assert_eq!(pulled["digest"], digest);
    user.fsck();
}
