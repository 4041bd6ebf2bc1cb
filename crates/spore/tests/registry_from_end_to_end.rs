//! A registry as its users meet it: log in, push, list, pull on another machine, copy, log out. With passwords and with TLS,
//! on a real docker-registry, by the real `spore`. No VM is started.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod harness;

use std::fs;
use std::io::Write as _;

use format::config::Accelerator;
use harness::Spore;
use harness::hubs::missing_bytes;
use harness::needs::{find_program, say_skipped};
use harness::run::Outcome;
use hub::testing::proxy::FaultProxy;
use hub::testing::registry::{Auth, RealRegistry, RegistryOptions};
use hub::testing::{PASSWORD, SampleSpec, USER, put_sample};
use serde_json::Value;
use store::Store;

const NAME: &str = "team/sample";

/// A `spore` with a home of its own, where no credentials are.
fn spore() -> Spore {
    Spore::new().without_logins()
}

/// Puts a sample into its store, under the tag `local/sample:1`.
fn bake(spore: &Spore, seed: &str) -> String {
    let store = Store::open(spore.root()).unwrap();
    let spec = SampleSpec { seed, layer_pages: 300, memory_pages: 30, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&format!("local/{seed}:1").parse().unwrap(), &sample.digest, None).unwrap();
    sample.digest.to_string()
}

fn log_in(spore: &Spore, registry: &str, password: &str) -> Outcome {
    let login = spore.command(["login", "--username", USER, "--password-stdin", registry]);
    login.stdin(password).finish()
}

fn number(document: &Value, field: &str) -> u64 {
    document[field].as_u64().unwrap_or_else(|| panic!("no {field} in {document}"))
}

/// Push, list, pull, and a second snapshot that shares the base.
fn travels(baker: &Spore, user: &Spore, hub: &str, reference: &str) {
    let digest = bake(baker, "one");
    let plan = baker.json(["push", "one:1", &format!("{reference}:1"), "--dry-run"]);
    let pushed = baker.json(["push", "one:1", &format!("{reference}:1")]);
    let planned = missing_bytes(&plan);
    assert_eq!((number(&pushed, "sent_bytes"), pushed["digest"].as_str()), (planned, Some(&*digest)));

    let offered = user.json(["images", "--hub", hub]);
    let images = offered["images"].as_array().unwrap();
    assert_eq!(images.len(), 1, "{offered}");
    assert_eq!((images[0]["digest"].as_str(), number(&images[0], "total_bytes")), (Some(&*digest), planned));
    assert_eq!(images[0]["accelerator"], "tcg");
    let text = user.run(["images", "--hub", hub]).succeeds().text().to_owned();
    assert!(text.contains(NAME) && text.contains("tcg"), "{text}");

    let pulled = user.json(["pull", &format!("{reference}:1")]);
    assert_eq!((pulled["digest"].as_str(), number(&pulled, "fetched_bytes")), (Some(&*digest), planned));
    user.fsck();

    let second = bake(baker, "two");
    let other = format!("{reference}-two:1");
    let plan = baker.json(["push", "two:1", &other, "--dry-run"]);
    let pushed = baker.json(["push", "two:1", &other]);
    let to_send = missing_bytes(&plan);
    assert_eq!(number(&pushed, "sent_bytes"), to_send);
    assert!(number(&pushed, "mounted_bytes") > 2 * 300 * 4096 && to_send < planned / 2, "{pushed}");
    let pulled = user.json(["pull", &other]);
    assert_eq!((pulled["digest"].as_str(), number(&pulled, "fetched_bytes")), (Some(&*second), to_send));
}

#[test]
fn with_passwords_and_tls() {
    let test = "registry_from_end_to_end::with_passwords_and_tls";
    let options = RegistryOptions { auth: Auth::Basic, tls: true };
    let Some(registry) = RealRegistry::start(test, &options) else { return };
    let ca = registry.ca().unwrap();
    let (hub, host) = (format!("oci+https://{}", registry.host()), registry.host());
    let with_alias = || {
        let spore = spore().env("SPORE_CA_FILE", &ca);
        let config = spore.root().with_file_name("config").join("spore");
        fs::create_dir_all(&config).unwrap();
        // On this machine a registry is plain HTTP unless somebody says otherwise.
        write!(fs::File::create(config.join("config.toml")).unwrap(), "[hubs]\nlab = '{hub}'\n").unwrap();
        spore
    };
    let (baker, user) = (with_alias(), with_alias());

    let refused = log_in(&baker, &hub, "wrong horse");
    assert_eq!(refused.status.code(), Some(1));
    assert!(!refused.error().contains("wrong horse"), "{}", refused.error());
    bake(&baker, "zero");
    let stranger = baker.run(["push", "zero:1", &format!("lab/{NAME}:1")]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(stranger.error().contains("log in"), "{}", stranger.error());
    assert_eq!(registry.blobs(), []);
    for spore in [&baker, &user] {
        log_in(spore, &hub, PASSWORD).succeeds();
    }
    travels(&baker, &user, "lab", &format!("lab/{NAME}"));

    user.run(["logout", &host]).succeeds();
    let denied = user.run(["images", "--hub", "lab", NAME]);
    assert!(!denied.status.success());
    // Another authority than the system's is trusted because the variable says so.
    let untrusting = Spore::new();
    let error = untrusting.run(["images", "--hub", &hub, NAME]).error();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn open_and_on_this_machine() {
    let test = "registry_from_end_to_end::open_and_on_this_machine";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (baker, user) = (spore(), spore());
    let host = registry.host();
    travels(&baker, &user, &format!("oci://{host}"), &format!("{host}/{NAME}"));
}

#[test]
fn a_copy_goes_from_hub_to_hub_and_needs_no_store() {
    let test = "registry_from_end_to_end::a_copy_goes_from_hub_to_hub_and_needs_no_store";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (spore, host) = (spore(), registry.host());
    let digest = bake(&spore, "one");
    let folder = spore.root().with_file_name("hub");
    let folder = folder.to_str().unwrap();
    spore.run(["push", "one:1", "--hub", folder]).succeeds();
    fs::remove_dir_all(spore.root()).unwrap();
    let there = format!("{host}/{NAME}");
    let shown = spore.json(["hub", "copy", "--from", folder, "one:1", &there, "--dry-run"]);
    let copied = spore.json(["hub", "copy", "--from", folder, "one:1", &there]);
    assert_eq!((copied["digest"].as_str(), copied["tag"].as_str()), (Some(&*digest), Some("1")));
    let planned = missing_bytes(&shown);
    assert_eq!(number(&copied, "sent_bytes"), planned);
    let again = spore.json(["hub", "copy", "--from", folder, "one:1", &there]);
    assert_eq!((number(&again, "sent_bytes"), number(&again, "skipped_bytes")), (0, planned));
    assert!(!spore.root().exists(), "a copy made a store");
    let back = spore.root().with_file_name("back");
    let arguments = ["hub", "copy", &format!("{there}:1"), "--to", back.to_str().unwrap()];
    spore.run(arguments).succeeds();
    let tag = |root: &str, name: &str| fs::read(format!("{root}/v2/{name}/manifests/1")).unwrap();
    assert_eq!(tag(folder, "one"), tag(back.to_str().unwrap(), NAME));
    let absent = spore.run(["hub", "copy", &format!("{host}/no/such"), "--to", folder]);
    assert_eq!(absent.status.code(), Some(3), "{}", absent.error());
    let text = spore.run(["inspect", "--referrers", &format!("{there}:1")]).succeeds().text().to_owned();
    assert!(text.contains(&digest), "{text}");
}

/// A snapshot that is another one, but for the accelerator that it was frozen under.
fn put_variant(spore: &Spore, seed: &str) {
    let store = Store::open(spore.root()).unwrap();
    let sample = put_sample(&store, &SampleSpec { seed, ..SampleSpec::default() }).unwrap();
    let (mut config, mut manifest) = (sample.config.clone(), sample.manifest.clone());
    config.engine.accelerator = Accelerator::Kvm;
    let bytes = config.encode().unwrap();
    manifest.config.digest = store.put_blob(&sample.lease, &bytes).unwrap();
    manifest.config.size = bytes.len() as u64;
    let digest = store.put_blob(&sample.lease, &manifest.encode().unwrap()).unwrap();
    store.set_ref(&format!("local/{seed}:1").parse().unwrap(), &digest, None).unwrap();
}

#[test]
fn of_variants_the_one_for_this_host_is_pulled() {
    let test = "registry_from_end_to_end::of_variants_the_one_for_this_host_is_pulled";
    if std::env::var_os("SPORE_QEMU").is_none() && find_program("qemu-system-x86_64").is_none() {
        say_skipped(test, "qemu-system-x86_64 is not installed");
        return;
    }
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (baker, user, there) = (spore(), spore(), format!("{}/{NAME}:1", registry.host()));
    let digest = bake(&baker, "one");
    put_variant(&baker, "for-kvm");
    baker.run(["push", "one:1", &there]).succeeds();
    baker.run(["push", "for-kvm:1", "--variant", &there]).succeeds();
    let offered = user.json(["images", "--hub", &format!("oci://{}", registry.host())]);
    let images = offered["images"].as_array().unwrap();
    let accelerators: Vec<_> = images.iter().map(|image| image["accelerator"].as_str().unwrap()).collect();
    assert_eq!(accelerators, ["tcg", "kvm"]);
    // Nobody has found out yet whether KVM works for this root, so it is not relied on.
    let pulled = user.json(["pull", &there]);
    assert_eq!(pulled["digest"].as_str(), Some(&*digest));
    assert_eq!(pulled["name"].as_str(), Some(&*there));
    // One for the same hosts takes its place.
    let other = bake(&baker, "other");
    let index = user.json(["inspect", "--referrers", &there])["digest"].as_str().unwrap().to_owned();
    baker.run(["push", "other:1", "--variant", &there]).succeeds();
    let replaced = user.json(["pull", "--force", &there]);
    assert_eq!(replaced["digest"].as_str(), Some(&*other));
    // The index that was there before still leads to what it led to.
    let before = user.json(["pull", &format!("{}/{NAME}@{index}", registry.host())]);
    assert_eq!(before["digest"].as_str(), Some(&*digest));
    let untagged = baker.run([
        "push",
        &format!("local/one@{digest}"),
        "--variant",
        "--hub",
        &format!("oci://{}", registry.host()),
    ]);
    assert_eq!(untagged.status.code(), Some(2), "{}", untagged.error());
}

/// What `spore pull NAME@sha256:…` asks a registry for.
#[test]
fn a_pull_by_digest_asks_for_no_tag() {
    let test = "registry_from_end_to_end::a_pull_by_digest_asks_for_no_tag";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (baker, user, host) = (spore(), spore(), registry.host());
    let digest = bake(&baker, "one");
    baker.run(["push", "one:1", &format!("{host}/{NAME}:1")]).succeeds();
    let proxy = FaultProxy::start(registry.addr(), []);
    let reference = format!("{}/{NAME}:moved@{digest}", proxy.addr());
    let pulled = user.json(["pull", &reference]);
    assert_eq!(pulled["digest"].as_str(), Some(&*digest));
    let manifests = format!("/v2/{NAME}/manifests/");
    assert_eq!(proxy.count("GET", &manifests), 1);
    assert_eq!(proxy.count("GET", &format!("{manifests}{digest}")), 1);
    assert_eq!(proxy.count("GET", &format!("/v2/{NAME}/tags")), 0);
    assert_eq!(proxy.count("HEAD", &manifests), 0);
    // What is here in whole is not asked for at all.
    let before = proxy.requests().len();
    let again = user.json(["pull", &reference]);
    assert_eq!((number(&again, "fetched_bytes"), proxy.requests().len()), (0, before));
    // A digest that the registry has not is named, and its tags are no substitute.
    let absent = format::Digest::of(b"absent");
    let error = user.run(["pull", &format!("{host}/{NAME}:1@{absent}")]);
    assert_eq!(error.status.code(), Some(3), "{}", error.error());
    assert!(error.error().contains(&absent.to_string()), "{}", error.error());
}

#[test]
fn what_is_wrong_with_a_hub_s_entry_hides_no_other() {
    let test = "registry_from_end_to_end::what_is_wrong_with_a_hub_s_entry_hides_no_other";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (spore, host) = (spore(), registry.host());
    for name in ["one", "two"] {
        bake(&spore, name);
        spore.run(["push", &format!("{name}:1"), &format!("{host}/{name}:1")]).succeeds();
    }
    let two = spore.json(["inspect", "two:1"]);
    let config: format::Digest = two["manifest"]["config"]["digest"].as_str().unwrap().parse().unwrap();
    let path = registry.blob_path(&config);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let listed = spore.run(["images", "--hub", &format!("oci://{host}"), "--format", "json"]);
    assert_eq!(listed.status.code(), Some(5), "{}", listed.error());
    let listed = listed.json();
    assert_eq!(listed["images"][0]["name"], "one");
    assert_eq!(listed["problems"][0]["name"], "two");
    assert!(listed["problems"][0]["problem"].as_str().unwrap().contains("corrupt"), "{listed}");
    // A hub that does not tell its names is asked for some.
    let proxy = FaultProxy::start(
        registry.addr(),
        [hub::testing::proxy::Rule::always(hub::testing::proxy::Fault::answer(404, &[]))
            .on("GET", "/v2/_catalog")],
    );
    let hub = format!("oci://{}", proxy.addr());
    let error = spore.run(["images", "--hub", &hub]);
    assert!(error.error().contains("NAME"), "{}", error.error());
    let one = spore.json(["images", "--hub", &hub, "one"]);
    assert_eq!(one["images"][0]["name"], "one");
}
