//! Hubs on web servers: a real nginx over a folder, with the rules that ship with Spore.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use format::Digest;
use hub::credentials::Credentials;
use hub::testing::PASSWORD;
use hub::testing::nginx::{Behind, NginxOptions, RealNginx};
use hub::testing::proxy::{Fault, FaultProxy, Rule};
use hub::testing::{SampleSpec, no_access};
use hub::{Access, HubError, HubLocation, PullError, PushError, Registry, Selector};

use crate::buckets::bucket;
use crate::registries::auth_file;
use crate::world::{World, assert_nothing_pulled, assert_pulled, name, tag};

const TLS: NginxOptions = NginxOptions { tls: true, password: false, no_parts: false };
const PLAIN: NginxOptions = NginxOptions { tls: false, password: false, no_parts: false };

fn over(test: &str, folder: &Path, options: &NginxOptions) -> Option<RealNginx> {
    RealNginx::start(&format!("web::{test}"), Behind::Folder(folder), options)
}

fn access(nginx: &RealNginx, credentials: Option<Credentials>) -> Access {
    let mut access = no_access();
    access.credentials = credentials.unwrap_or(access.credentials);
    if let Some(ca) = nginx.ca() {
        access.trust(&ca).unwrap();
    }
    access
}

fn open_url(url: &str, access: &Access) -> Arc<dyn Registry> {
    hub::open(&HubLocation::parse(url).unwrap(), access).unwrap()
}

fn open(nginx: &RealNginx) -> Arc<dyn Registry> {
    open_url(&nginx.url(), &access(nginx, None))
}

async fn conforms(test: &str, options: &NginxOptions) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("hub");
    let Some(nginx) = over(test, &folder, options) else { return };
    let writer = hub::open(&HubLocation::folder(&folder).unwrap(), &no_access()).unwrap();
    let server = format!("{} over a folder", nginx.version());
    let scope = "conformance".parse().unwrap();
    let report = hub::conformance::run_through(writer, open(&nginx), &scope, &server).await.unwrap();
    println!("{report}");
    assert!(report.unsupported.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_behind_nginx_conforms() {
    conforms("a_folder_behind_nginx_conforms", &TLS).await;
    conforms("a_folder_behind_nginx_conforms", &PLAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_pulled() {
    let world = World::pushed(&SampleSpec::default()).await;
    let Some(nginx) = over("a_snapshot_is_pulled", &world.hub_path(), &TLS) else { return };
    world.pull_from(open(&nginx)).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_pushed_through_it() {
    let world = World::new(&SampleSpec::default());
    let Some(nginx) = over("nothing_is_pushed_through_it", world.temp.path(), &PLAIN) else { return };
    let error = world.push_to(open(&nginx)).await.unwrap_err();
    assert!(matches!(error, PushError::Hub(HubError::ReadOnly { .. })), "{error}");
    assert!(error.to_string().contains("the folder or the bucket behind it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hub_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let Some(nginx) = over("what_is_no_hub_is_named", temp.path(), &PLAIN) else { return };
    let page = "<html>welcome to our shop".repeat(400);
    for content in [None, Some("<html>"), Some(page.as_str()), Some(r#"{"imageLayoutVersion":"2.0.0"}"#)] {
        if let Some(content) = content {
            fs::write(temp.path().join("oci-layout"), content).unwrap();
        }
        let hub = open(&nginx);
        for error in [
            hub.tags(&name()).await.unwrap_err(),
            hub.get_manifest(&name(), &Selector::Tag(tag())).await.unwrap_err(),
            hub.blob_size(&name(), &Digest::of(b"x")).await.unwrap_err(),
            hub.get_blob(&name(), &Digest::of(b"x"), 0..1).await.err().unwrap(),
        ] {
            assert!(matches!(error, HubError::NotAHub { push_makes_one: false, .. }), "{error}");
            assert!(error.to_string().contains("oci-layout"), "{error}");
        }
    }
}

/// As a bucket that somebody copied without it: what is named can be pulled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_an_index_is_pulled_from() {
    let world = World::pushed(&SampleSpec::default()).await;
    fs::remove_file(world.hub_path().join("index.json")).unwrap();
    let Some(nginx) = over("a_hub_without_an_index_is_pulled_from", &world.hub_path(), &PLAIN) else {
        return;
    };
    let error = open(&nginx).names().await.unwrap_err();
    assert!(matches!(error, HubError::Unsupported { .. }), "{error}");
    world.pull_from(open(&nginx)).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_given_to_the_host_that_asks_for_it() {
    let test = "a_password_is_given_to_the_host_that_asks_for_it";
    let options = NginxOptions { password: true, ..PLAIN };
    let world = World::pushed(&SampleSpec::default()).await;
    let Some(nginx) = over(test, &world.hub_path(), &options) else { return };
    let proxy = FaultProxy::start(nginx.addr(), []);
    let host = proxy.addr().to_string();
    let (_folder, credentials) = auth_file(&host, PASSWORD);
    let (_other, mistaken) = auth_file(&host, "wrong horse");
    for stranger in [access(&nginx, None), access(&nginx, Some(mistaken))] {
        let error = world.pull_from(open_url(&proxy.url(), &stranger)).await.unwrap_err();
        assert!(matches!(error, PullError::Hub(HubError::Denied { .. })), "{error}");
        assert!(!error.to_string().contains("horse"), "{error}");
    }
    let known = access(&nginx, Some(credentials));
    world.pull_from(open_url(&proxy.url(), &known)).await.unwrap();
    assert_pulled(&world);
    // Nor is it given to whom that host leads to, who asks for one as well.
    let elsewhere = FaultProxy::start(nginx.addr(), []);
    proxy.set_script([Rule::always(Fault::Redirect { to: elsewhere.addr() }).on("GET", "/blobs/")]);
    let again = world.with_new_target();
    let error = again.pull_from(open_url(&proxy.url(), &known)).await.unwrap_err();
    assert!(matches!(error, PullError::Hub(HubError::Denied { .. })), "{error}");
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for() {
    let world = World::pushed(&crate::damage::LARGE).await;
    let Some(nginx) = over("what_passes_is_waited_for", &world.hub_path(), &PLAIN) else { return };
    let busy = |status| Fault::answer(status, &[("Retry-After", "0")]);
    let proxy = FaultProxy::start(nginx.addr(), []);
    for faults in [
        vec![Rule::times(3, busy(429)), Rule::times(2, busy(503))],
        vec![Rule::times(3, Fault::TruncateAnswer { after: 70_000 }).on("GET", "/blobs/")],
        vec![Rule::times(2, Fault::TruncateAnswer { after: 10 }).on("GET", "/oci-layout")],
        vec![Rule::always(Fault::IgnoreRange)],
    ] {
        let world = world.with_new_target();
        proxy.set_script(faults);
        world.pull_from(open_url(&proxy.url(), &no_access())).await.unwrap();
        assert_pulled(&world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_is_found() {
    let world = World::pushed(&SampleSpec::default()).await;
    let Some(nginx) = over("a_changed_byte_is_found", &world.hub_path(), &PLAIN) else { return };
    for path in ["/blobs/", "/v2/"] {
        let proxy =
            FaultProxy::start(nginx.addr(), [Rule::always(Fault::CorruptAnswer { at: 40 }).on("GET", path)]);
        let error = world.pull_from(open_url(&proxy.url(), &no_access())).await.unwrap_err();
        assert!(
            matches!(
                error,
                PullError::Corrupt { .. } | PullError::Manifest { .. } | PullError::NotFound { .. }
            ),
            "{path}: {error}"
        );
        assert_nothing_pulled(&world);
    }
}

/// Runs a program of others; none if it is not installed, which it says.
fn foreign(test: &str, command: &mut Command) -> Option<Vec<u8>> {
    let Ok(output) = command.output() else {
        println!("skipped: web::{test}: {} is not installed", command.get_program().display());
        return None;
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// skopeo takes a snapshot from what it believes to be a registry, byte for byte.
fn skopeo_copies(test: &str, world: &World, nginx: &RealNginx) {
    let certificates = tempfile::tempdir().unwrap();
    fs::copy(nginx.ca().unwrap(), certificates.path().join("ca.crt")).unwrap();
    let layout = world.temp.path().join("layout");
    let mut skopeo = Command::new("timeout");
    skopeo.args(["120", "skopeo"]);
    skopeo.args(["--insecure-policy", "copy", "--src-cert-dir"]).arg(certificates.path());
    skopeo.arg(format!("docker://{}/{}:{}", nginx.host(), name(), tag()));
    skopeo.arg(format!("oci:{}:copied", layout.display()));
    if foreign(test, &mut skopeo).is_none() {
        return;
    }
    for digest in world.sample.manifest.blobs().map(|blob| blob.digest).chain([world.sample.digest]) {
        let copied = fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!(Digest::of(&copied), digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clients_read_it_as_a_registry() {
    let test = "other_clients_read_it_as_a_registry";
    let world = World::pushed(&SampleSpec::default()).await;
    let Some(nginx) = over(test, &world.hub_path(), &TLS) else { return };
    skopeo_copies(test, &world, &nginx);
    // And with our own client of registries.
    let location = HubLocation::parse(&format!("oci+https://{}", nginx.host())).unwrap();
    let registry = hub::open(&location, &access(&nginx, None)).unwrap();
    world.pull_from(registry).await.unwrap();
    assert_pulled(&world);
}

/// Objects that a real store gives to anybody, by way of nginx: to Spore, and as a registry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_behind_nginx_is_read_too() {
    let test = "a_bucket_behind_nginx_is_read_too";
    let Some(bucket) = bucket("web", test) else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(hub::open(&bucket.location(""), &bucket.access()).unwrap()).await.unwrap();
    let (addr, host) = bucket.publish();
    let Some(nginx) = RealNginx::start(test, Behind::Bucket { host: &host, addr }, &TLS) else { return };
    world.pull_from(open(&nginx)).await.unwrap();
    assert_pulled(&world);
    skopeo_copies(test, &world, &nginx);
}

fn header(answer: &str, name: &str) -> Option<String> {
    let lines = answer.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .next_back()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_give_what_registries_give() {
    let test = "the_rules_give_what_registries_give";
    let world = World::pushed(&SampleSpec::default()).await;
    let Some(nginx) = over(test, &world.hub_path(), &PLAIN) else { return };
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-D", "-", "--noproxy", "*", "--max-time", "20"]).args(arguments);
        let answer = foreign(test, curl.arg(format!("{}{path}", nginx.url())))?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    let digest = world.sample.digest;
    let Some(ping) = curl(&[], "/v2/") else { return };
    assert!(ping.starts_with("HTTP/1.1 200"), "{ping}");
    for reference in [tag().to_string(), digest.to_string()] {
        let answer = curl(&["-I"], &format!("/v2/{}/manifests/{reference}", name())).unwrap();
        let kind = header(&answer, "content-type").unwrap();
        assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
        let told = header(&answer, "docker-content-digest");
        assert_eq!(told, reference.starts_with("sha256:").then_some(digest.to_string()));
    }
    let part = curl(&["-r", "10-19"], &format!("/v2/{}/blobs/{digest}", name())).unwrap();
    assert!(part.starts_with("HTTP/1.1 206"), "{part}");
    let bytes = fs::read(world.hub_blob(&digest)).unwrap();
    assert!(part.as_bytes().ends_with(&bytes[10..20]), "{part}");
    for (method, path, status) in [
        ("GET", "/v2/team/sample/manifests/absent", "404"),
        ("GET", "/tmp/x", "404"),
        ("PUT", "/v2/team/sample/manifests/x", "405"),
        ("DELETE", "/v2/team/sample/manifests/1.0", "405"),
    ] {
        let answer = curl(&["-X", method], path).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
    }
}
