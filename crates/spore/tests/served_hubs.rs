//! `spore hub serve`: one folder, served to `spore push` and `spore pull` as people type them, with tokens, and through a
//! kill.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod harness;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use format::Digest;
use harness::run::DEADLINE;
use harness::served::Served;
use harness::{Spore, files};
use hub::testing::{SampleSpec, put_sample};
use store::Store;

/// A `spore` whose logins are its own, with a snapshot of this name.
fn with_sample(name: &str) -> (Spore, Digest) {
    let scratch = files::scratch("served");
    let logins = scratch.path().join("logins.json");
    let spore = Spore::in_folder(scratch, Path::new("root")).env("REGISTRY_AUTH_FILE", logins);
    let store = Store::open(spore.root()).unwrap();
    let sample = put_sample(&store, &SampleSpec { memory_pages: 400, ..SampleSpec::default() }).unwrap();
    store.create_ref(&format!("local/{name}:latest").parse().unwrap(), &sample.digest, None).unwrap();
    (spore, sample.digest)
}

fn pulled(spore: &Spore, args: &[&str]) -> Digest {
    let digest = spore.json(["pull"].iter().chain(args))["digest"].as_str().unwrap().parse().unwrap();
    spore.fsck();
    digest
}

/// Every blob of a hub is what its name says.
fn assert_whole(folder: &Path) {
    for blob in files::entries(&folder.join("blobs/sha256")) {
        assert_eq!(files::digest(&blob).hex(), blob.file_name().unwrap().to_str().unwrap());
    }
}

#[test]
fn a_folder_is_pushed_to_and_pulled_from() {
    let temp = files::scratch("hub");
    let (spore, digest) = with_sample("numpy");
    let served = Served::start(&spore, &temp.path().join("hub"), &[]);
    let host = served.host();
    spore.run(["push", "numpy", &format!("{host}/team/numpy:1")]).succeeds();
    assert_eq!(pulled(&Spore::new(), &[&format!("{host}/team/numpy:1")]), digest);
    assert_eq!(pulled(&Spore::new(), &["--hub", &format!("oci+http://{host}"), "team/numpy:1"]), digest);
    // As files, by the folder's own paths; what is there is not fetched again, and not pushed to.
    let reader = Spore::new();
    assert_eq!(pulled(&reader, &["--hub", &served.url, "team/numpy:1"]), digest);
    let refused = spore.run(["push", "numpy", "--hub", &served.url]);
    refused.exits_with(1).says(&["only gives it out", "the folder or the bucket"]);
    spore
        .run(["pull", "--hub", &format!("{}/elsewhere", served.url), "numpy"])
        .exits_with(2)
        .says(&["alias"]);
    reader.run(["pull", "--hub", &served.url, "absent"]).exits_with(3);
    served.interrupt();
    assert_whole(&temp.path().join("hub"));
}

#[test]
fn a_token_pushes_where_it_may() {
    let temp = files::scratch("hub");
    let (spore, digest) = with_sample("numpy");
    let new = spore.run(["hub", "token", "new", "--name", "alice", "--push", "alice/"]).succeeds();
    let said = new.error();
    let token = said.lines().find(|line| line.starts_with("spore_")).unwrap().to_owned();
    assert!(!new.text().contains(&token));
    let tokens = temp.path().join("tokens.toml");
    fs::write(&tokens, new.text()).unwrap();
    let served =
        Served::start(&spore, &temp.path().join("hub"), &["--tokens", tokens.to_str().unwrap(), "--public"]);
    let host = served.host();
    let push = |name: &str| spore.run(["push", "numpy", &format!("{host}/{name}")]);
    push("alice/numpy").exits_with(1).says(&["denied", "log in"]);
    let login = |password: &str| {
        spore.command(["login", "--username", "any", "--password-stdin", host]).stdin(password).finish()
    };
    login("spore_wrong").exits_with(1);
    login(&token).succeeds();
    push("alice/numpy").succeeds();
    push("bob/numpy").exits_with(1).says(&["denied"]);
    // Whoever has no token pulls.
    assert_eq!(pulled(&Spore::new(), &[&format!("{host}/alice/numpy")]), digest);
    let log = served.log();
    assert!(log.contains("alice") && log.contains("/v2/alice/numpy/manifests/latest"), "{log}");
    assert!(!log.contains(&token) && !log.contains("spore_wrong"), "{log}");
    served.interrupt();
}

/// As one that is not set: a server then logs its requests.
#[test]
fn an_empty_spore_log_is_none() {
    let temp = files::scratch("hub");
    let spore = Spore::new().env("SPORE_LOG", "");
    let served = Served::start(&spore, &temp.path().join("hub"), &[]);
    spore.run(["images", "--hub", &format!("oci://{}", served.host())]).succeeds();
    assert!(served.log().contains("/v2/_catalog"), "{}", served.log());
    served.interrupt();
}

#[test]
fn what_would_let_everybody_in_is_refused() {
    let temp = files::scratch("hub");
    let folder = temp.path().join("hub");
    let spore = Spore::new();
    let serve = |args: &[&str]| spore.command(["hub", "serve"]).args([&folder]).args(args).finish();
    serve(&["--listen", "0.0.0.0:0"]).exits_with(2).says(&["--tokens", "--read-only", "127.0.0.1"]);
    serve(&["--read-only", "--listen", "127.0.0.1:0"]).exits_with(3).says(&["no such folder"]);
    let wrong = temp.path().join("tokens.toml");
    fs::write(&wrong, "[[token]]\nname = 'alice'\nsha256 = 'spore_oops'\n").unwrap();
    serve(&["--tokens", wrong.to_str().unwrap()]).exits_with(2).says(&["sha256"]);
    assert!(!folder.exists());
}

#[test]
fn a_killed_server_leaves_a_whole_hub() {
    let temp = files::scratch("hub");
    let folder = temp.path().join("hub");
    let (spore, digest) = with_sample("numpy");
    let served = Served::start(&spore, &folder, &[]);
    spore.run(["push", "numpy", &format!("{}/numpy:1", served.host())]).succeeds();
    let mut stream = TcpStream::connect(served.host()).unwrap();
    let host = served.host();
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[1; 1_000_000]).unwrap();
    let uploads = folder.join("tmp/serve");
    let written = || files::entries(&uploads).iter().any(|file| fs::metadata(file).unwrap().len() > 0);
    let end = Instant::now() + DEADLINE;
    while !written() {
        assert!(Instant::now() < end, "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(served);
    assert_eq!(files::entries(&uploads).len(), 1);
    let served = Served::start(&spore, &folder, &[]);
    assert_eq!(files::entries(&uploads).len(), 0);
    assert_whole(&folder);
    assert_eq!(pulled(&Spore::new(), &[&format!("{}/numpy:1", served.host())]), digest);
    // One hub has one server that takes pushes.
    let second = spore.command(["hub", "serve", "--listen", "127.0.0.1:0"]).args([&folder]).finish();
    second.exits_with(1).says(&["another `spore hub serve`"]);
    served.interrupt();
}
