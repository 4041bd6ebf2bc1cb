//! Registries as hubs: a real docker-registry, open, with passwords, with tokens, and with TLS.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hub::credentials::Credentials;
use hub::testing::registry::{Auth as Entry, RealRegistry, RegistryOptions};
use hub::testing::token::TokenOptions;
use hub::testing::{PASSWORD, SampleSpec, USER, no_access};
use hub::{Access, HubError, HubLocation, Registry, Selector};

use crate::world::{World, assert_pulled, name, pull, tag};

fn location(registry: &RealRegistry) -> HubLocation {
    let scheme = registry.ca().map_or("oci", |_| "oci+https");
    HubLocation::parse(&format!("{scheme}://{}", registry.host())).unwrap()
}

/// As somebody who has logged in as the user, or as `password` would have it.
fn access(registry: &RealRegistry, password: &str) -> (tempfile::TempDir, Access) {
    let (folder, credentials) = auth_file(&registry.host(), password);
    let mut access = Access::of(credentials);
    if let Some(ca) = registry.ca() {
        access.trust(&ca).unwrap();
    }
    (folder, access)
}

/// What somebody has who has logged in at `host` as the user with this password.
pub(crate) fn auth_file(host: &str, password: &str) -> (tempfile::TempDir, Credentials) {
    let folder = tempfile::tempdir().unwrap();
    let auth = serde_json::json!({ "auths": { host: { "auth": encode(&format!("{USER}:{password}")) } } });
    let file = folder.path().join("auth.json");
    fs::write(&file, auth.to_string()).unwrap();
    (folder, Credentials::from_files(vec![file]))
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The hub at `host`, to somebody whose password for it is `password`.
pub(crate) fn open_at(host: &str, password: &str) -> (tempfile::TempDir, Arc<dyn Registry>) {
    let (folder, credentials) = auth_file(host, password);
    let location = HubLocation::parse(&format!("oci://{host}")).unwrap();
    let hub = hub::open(&location, &Access::of(credentials)).unwrap();
    (folder, hub)
}

pub(crate) fn open(registry: &RealRegistry, password: &str) -> (tempfile::TempDir, Arc<dyn Registry>) {
    let (folder, access) = access(registry, password);
    (folder, hub::open(&location(registry), &access).unwrap())
}

fn start(test: &str, auth: Entry, tls: bool) -> Option<RealRegistry> {
    RealRegistry::start(&format!("registries::{test}"), &RegistryOptions { auth, tls })
}

async fn conforms(test: &str, access: Entry, tls: bool) {
    let Some(registry) = start(test, access, tls) else { return };
    let (_folder, hub) = open(&registry, PASSWORD);
    let scope = "conformance".parse().unwrap();
    let report = hub::conformance::run(hub, &scope, &registry.version()).await.unwrap();
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_registry_conforms() {
    conforms("an_open_registry_conforms", Entry::Open, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_with_passwords_and_tls_conforms() {
    conforms("a_registry_with_passwords_and_tls_conforms", Entry::Basic, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_with_tokens_conforms() {
    conforms("a_registry_with_tokens_conforms", Entry::Token(TokenOptions::default()), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_back_as_it_went() {
    let Some(registry) = start("a_snapshot_comes_back_as_it_went", Entry::Basic, false) else { return };
    let (_folder, hub) = open(&registry, PASSWORD);
    let world = World::new(&SampleSpec::default());
    world.push_to(Arc::clone(&hub)).await.unwrap();
    pull(&world.target, Arc::clone(&hub), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let again = hub::plan_push(&world.source, &world.sample.digest, hub, &name()).await.unwrap();
    assert_eq!(again.transfer.missing, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_denied_and_nothing_is_there() {
    for access in [Entry::Basic, Entry::Token(TokenOptions::default())] {
        let Some(registry) = start("strangers_are_denied_and_nothing_is_there", access, false) else {
            return;
        };
        let world = World::new(&SampleSpec::default());
        let (_folder, mistaken) = open(&registry, "wrong horse");
        for hub in [hub::open(&location(&registry), &no_access()).unwrap(), mistaken] {
            let error = world.push_to(hub).await.unwrap_err();
            assert!(matches!(error, hub::PushError::Hub(HubError::Denied { .. })), "{error}");
            assert!(!error.to_string().contains("wrong horse"), "{error}");
        }
        assert_eq!(registry.blobs(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_authority_is_not_trusted() {
    let Some(registry) = start("an_unknown_authority_is_not_trusted", Entry::Open, true) else { return };
    let hub = hub::open(&location(&registry), &no_access()).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(60), hub.tags(&name())).await.unwrap();
    let error = asked.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

/// As podman and docker have it: `certs.d/HOST:PORT/` with the authority, a certificate and its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_found_where_container_tools_keep_them() {
    let test = "certificates_are_found_where_container_tools_keep_them";
    let Some(registry) = start(test, Entry::Certificate, true) else { return };
    let folders = tempfile::tempdir().unwrap();
    let (empty, folder) = (folders.path().join("empty"), folders.path().join("certs.d"));
    let of_host = folder.join(registry.host());
    fs::create_dir_all(&of_host).unwrap();
    let mut access = no_access();
    access.certificate_folders = vec![empty, folder];
    let ask = async || {
        let hub = hub::open(&location(&registry), &access)?;
        hub.tags(&name()).await
    };
    let error = ask().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    fs::copy(registry.ca().unwrap(), of_host.join("ca.crt")).unwrap();
    let begun = std::time::Instant::now();
    let error = ask().await.unwrap_err().to_string();
    // The alert may come before the end of the connection is seen, or not.
    let is_end = error.contains("alert") || error.contains("closed");
    assert!(is_end && begun.elapsed() < Duration::from_secs(20), "{error}");
    let (cert, key) = registry.client_certificate().unwrap();
    fs::copy(cert, of_host.join("client.cert")).unwrap();
    let error = ask().await.unwrap_err().to_string();
    assert!(error.contains("client.key"), "{error}");
    fs::write(of_host.join("client.key"), "SECRET").unwrap();
    let error = ask().await.unwrap_err().to_string();
    assert!(error.contains("client.cert") && !error.contains("SECRET"), "{error}");
    fs::copy(key, of_host.join("client.key")).unwrap();
    assert_eq!(ask().await.unwrap(), []);
    // Those of another port are another registry's.
    fs::rename(&of_host, of_host.with_file_name("localhost:1")).unwrap();
    ask().await.unwrap_err();
}
