//! The real registry, in each of its modes.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use format::Digest;
use hub::testing::proxy::FaultProxy;
use hub::testing::registry::{Auth, RealRegistry, RegistryOptions, Untagged};
use hub::testing::token::{TokenOptions, TokenRequest};
use hub::testing::{PASSWORD, USER};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::{DEADLINE, client, status};

const CONFIG: &[u8] = b"{}";

/// Puts a blob in one request.
async fn put_blob(client: &Client, base: &str, bytes: &[u8]) -> Digest {
    let start = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
    assert_eq!(start.status(), StatusCode::ACCEPTED, "{}", start.text().await.unwrap());
    let location = start.headers().get("location").unwrap().to_str().unwrap().to_owned();
    let digest = Digest::of(bytes);
    let put = client.put(format!("{location}&digest={digest}")).body(bytes.to_vec());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    digest
}

#[tokio::test]
async fn an_open_registry_stores_serves_and_collects() {
    let name = "an_open_registry_stores_serves_and_collects";
    let Some(registry) = RealRegistry::start(name, &RegistryOptions::default()) else { return };
    assert!(registry.version().contains("distribution"), "{}", registry.version());
    let (client, base) = (client(None), format!("{}/v2/spore/test", registry.url()));
    assert_eq!(status(&client, &format!("{}/v2/", registry.url())).await, StatusCode::OK);
    assert_eq!(registry.blobs(), []);

    let config = put_blob(&client, &base, CONFIG).await;
    let orphan = put_blob(&client, &base, b"orphan").await;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":
        "application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    );
    let manifest_digest = Digest::of(manifest.as_bytes());
    let put = client.put(format!("{base}/manifests/tag")).header("Content-Type", media_type).body(manifest);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);

    let sorted = |mut digests: Vec<Digest>| {
        digests.sort_unstable();
        digests
    };
    assert_eq!(registry.blobs(), sorted(vec![config, orphan, manifest_digest]));
    assert_eq!(std::fs::read(registry.blob_path(&orphan)).unwrap(), b"orphan");
    registry.garbage_collect(Untagged::Delete);
    assert_eq!(registry.blobs(), sorted(vec![config, manifest_digest]));

    // What happens to the files is what it serves.
    std::fs::remove_file(registry.blob_path(&config)).unwrap();
    assert_eq!(status(&client, &format!("{base}/blobs/{config}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_through_a_proxy_stays_in_it() {
    let name = "an_upload_through_a_proxy_stays_in_it";
    let Some(registry) = RealRegistry::start(name, &RegistryOptions::default()) else { return };
    let proxy = FaultProxy::start(registry.addr(), []);
    let digest = put_blob(&client(None), &format!("{}/v2/spore/test", proxy.url()), b"blob").await;
    assert_eq!(registry.blobs(), [digest]);
    // The registry says where the upload goes on: at the address that it was asked under.
    assert_eq!((proxy.count("POST", "/v2/"), proxy.count("PUT", "/v2/")), (1, 1));
}

#[tokio::test]
async fn basic_authentication_wants_the_password() {
    let options = RegistryOptions { auth: Auth::Basic, tls: false };
    let name = "basic_authentication_wants_the_password";
    let Some(registry) = RealRegistry::start(name, &options) else { return };
    let (client, url) = (client(None), format!("{}/v2/", registry.url()));
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().get("www-authenticate").unwrap().to_str().unwrap().starts_with("Basic "));
    for (password, expected) in [("wrong", StatusCode::UNAUTHORIZED), (PASSWORD, StatusCode::OK)] {
        let answer = client.get(&url).basic_auth(USER, Some(password)).send().await.unwrap();
        assert_eq!(answer.status(), expected);
    }
}

#[tokio::test]
async fn tls_is_trusted_through_its_authority_only() {
    let options = RegistryOptions { auth: Auth::Basic, tls: true };
    let name = "tls_is_trusted_through_its_authority_only";
    let Some(registry) = RealRegistry::start(name, &options) else { return };
    let url = format!("{}/v2/", registry.url());
    assert!(url.starts_with("https://localhost:"));
    let trusting = client(registry.ca().as_deref());
    assert_eq!(status(&trusting, &url).await, StatusCode::UNAUTHORIZED);
    assert!(client(None).get(&url).send().await.is_err());
}

/// A token for `scope`, or why there is none.
async fn token(registry: &RealRegistry, scope: &str, password: Option<&str>) -> Result<String, StatusCode> {
    let realm = registry.tokens().unwrap().realm();
    let mut request = client(None).get(format!("{realm}?service=spore-test-registry&scope={scope}"));
    if let Some(password) = password {
        request = request.basic_auth(USER, Some(password));
    }
    let answer = request.send().await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    Ok(answer["token"].as_str().unwrap().to_owned())
}

fn with_tokens(name: &str, options: TokenOptions) -> Option<RealRegistry> {
    RealRegistry::start(name, &RegistryOptions { auth: Auth::Token(options), tls: false })
}

#[tokio::test]
async fn a_token_opens_what_it_is_for() {
    let Some(registry) = with_tokens("a_token_opens_what_it_is_for", TokenOptions::default()) else { return };
    let (client, base) = (client(None), format!("{}/v2/spore/test", registry.url()));
    let refused = client.get(format!("{base}/tags/list")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers().get("www-authenticate").unwrap().to_str().unwrap();
    let realm = registry.tokens().unwrap().realm();
    let service = "spore-test-registry";
    let scope = "repository:spore/test:pull";
    assert_eq!(challenge, format!("Bearer realm=\"{realm}\",service=\"{service}\",scope=\"{scope}\""));

    assert_eq!(token(&registry, scope, None).await, Err(StatusCode::UNAUTHORIZED));
    assert_eq!(token(&registry, scope, Some("wrong")).await, Err(StatusCode::UNAUTHORIZED));
    let pull = token(&registry, scope, Some(PASSWORD)).await.unwrap();
    let push = token(&registry, "repository:spore/test:pull,push", Some(PASSWORD)).await.unwrap();
    let start_upload = async |token: &str| {
        client.post(format!("{base}/blobs/uploads/")).bearer_auth(token).send().await.unwrap().status()
    };
    assert_eq!(start_upload(&pull).await, StatusCode::UNAUTHORIZED);
    assert_eq!(start_upload(&push).await, StatusCode::ACCEPTED);

    let asked = registry.tokens().unwrap().requests();
    assert_eq!(asked.iter().map(|request| request.granted).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(
        asked[3],
        TokenRequest {
            service: Some(service.to_owned()),
            scopes: vec!["repository:spore/test:pull,push".to_owned()],
            user: Some(USER.to_owned()),
            granted: true,
        }
    );
}

#[tokio::test]
async fn anybody_may_pull_where_that_is_configured() {
    let options = TokenOptions { anonymous_pull: true, ..TokenOptions::default() };
    let Some(registry) = with_tokens("anybody_may_pull_where_that_is_configured", options) else { return };
    let (client, base) = (client(None), format!("{}/v2/spore/test", registry.url()));
    let token = token(&registry, "repository:spore/test:pull,push", None).await.unwrap();
    let blob = format!("{base}/blobs/{}", Digest::of(b"absent"));
    assert_eq!(client.get(blob).bearer_auth(&token).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let upload = client.post(format!("{base}/blobs/uploads/")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(upload.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_expires_when_it_says() {
    let options = TokenOptions { lifetime: Duration::from_secs(4), ..TokenOptions::default() };
    let Some(registry) = with_tokens("a_token_expires_when_it_says", options) else { return };
    let (client, url) = (client(None), format!("{}/v2/spore/test/blobs/{}", registry.url(), Digest::of(b"")));
    let asked = Instant::now();
    let token = token(&registry, "repository:spore/test:pull", Some(PASSWORD)).await.unwrap();
    let status = async || client.get(&url).bearer_auth(&token).send().await.unwrap().status();
    assert_eq!(status().await, StatusCode::NOT_FOUND);
    while status().await != StatusCode::UNAUTHORIZED {
        assert!(asked.elapsed() < DEADLINE, "the token never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked.elapsed() >= Duration::from_secs(4), "expired after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_registry_outlives_the_thread_that_started_it() {
    let name = "a_registry_outlives_the_thread_that_started_it";
    let started = thread::spawn(move || RealRegistry::start(name, &RegistryOptions::default()));
    let Some(mut registry) = started.join().unwrap() else { return };
    let url = format!("{}/v2/", registry.url());
    assert_eq!(status(&client(None), &url).await, StatusCode::OK);
    registry.kill();
    assert!(TcpStream::connect(registry.addr()).is_err());
}

/// Prints where its registry listens, then waits to be killed.
#[test]
#[ignore = "the process that the next test kills"]
fn process_to_be_killed() {
    let Some(registry) = RealRegistry::start("process_to_be_killed", &RegistryOptions::default()) else {
        return;
    };
    println!("\nlistens {}", registry.addr());
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_registry_dies_with_a_killed_process() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "registry::process_to_be_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let said =
        lines.map_while(Result::ok).find(|line| line.contains("listens ") || line.contains("skipped: "));
    let addr = said.as_ref().and_then(|line| line.strip_prefix("listens ")?.parse::<SocketAddr>().ok());
    let listened = addr.is_some_and(|addr| TcpStream::connect(addr).is_ok());
    process.kill().unwrap();
    process.wait().unwrap();
    let said = said.expect("it listens or is skipped");
    if said.contains("skipped: ") {
        println!("skipped: a_registry_dies_with_a_killed_process: docker-registry is not installed");
        return;
    }
    assert!(listened, "{said}");
    let addr = addr.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(addr).is_ok() {
        assert!(Instant::now() < deadline, "the registry still listens");
        thread::sleep(Duration::from_millis(5));
    }
}
