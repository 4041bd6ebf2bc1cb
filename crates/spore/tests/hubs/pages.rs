//! `spore hub index` on a bucket: its pages are objects that a browser reads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::harness::files;
use crate::harness::hubs::{Hub, NAME_1, Server, bake, user};
use crate::harness::run::{DEADLINE, Run};

/// An object by plain HTTP, as anybody gets it: its media type, and its text.
#[track_caller]
fn get(addr: SocketAddr, host: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // HTTP/1.0, whose answers are not chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().ends_with("200 OK"), "{path}: {head}");
    let is_type = |line: &&str| line.to_ascii_lowercase().starts_with("content-type:");
    let media_type = head.lines().find(is_type).unwrap().split_once(": ").unwrap().1;
    (media_type.to_owned(), body.to_owned())
}

#[test]
fn a_bucket_s_page_says_how_to_pull() {
    let Some(bucket) = Hub::bucket("hubs_of_all_kinds::pages::a_bucket_s_page_says_how_to_pull") else {
        return;
    };
    let Server::Bucket(of_garage) = &bucket.server else { panic!("{bucket:?}") };
    let baker = user([&bucket]);
    let digest = bake(&baker, "sample");
    bucket.push(&baker, "sample");
    let made = baker.json(["hub", "index", &bucket.location, "--title", "Our machines"]);
    assert_eq!((&made["written_to"], &made["snapshots"]), (&bucket.location.clone().into(), &1.into()));

    let (addr, host) = of_garage.publish();
    let (media_type, catalog) = get(addr, &host, "/catalog.json");
    assert_eq!(media_type, "application/json");
    let catalog: Value = serde_json::from_str(&catalog).unwrap();
    let tag = &catalog["names"][0]["tags"][0];
    assert_eq!(tag["digest"], digest);
    let (media_type, page) = get(addr, &host, "/index.html");
    assert_eq!(media_type, "text/html; charset=utf-8");
    assert!(page.contains("<title>Our machines</title>"));
    let (media_type, index) = get(addr, &host, "/index.json");
    assert_eq!(media_type, "application/vnd.oci.image.index.v1+json");
    assert!(index.contains(&digest) && index.contains(NAME_1));

    // The commands go to a shell as they stand on the page: a bucket's location has characters that shells obey.
    for command in [&tag["pull"], &tag["snapshots"][0]["pull"]].map(|command| command.as_str().unwrap()) {
        let shown = command.replace('&', "&#38;").replace('\'', "&#39;").replace('"', "&#34;");
        assert!(page.contains(&shown), "{shown} is not in {page}");
        let puller = user([&bucket]);
        let shell = Run::new("/bin/sh").args(["-c", command]).env("PATH", files::program().parent().unwrap());
        let shell = shell.env("HOME", puller.root().parent().unwrap()).env("SPORE_ROOT", puller.root());
        let key = of_garage.key();
        let shell = shell.env("AWS_ACCESS_KEY_ID", &key.id).env("AWS_SECRET_ACCESS_KEY", &key.secret);
        let pulled = shell.finish().succeeds();
        assert!(pulled.text().contains(&digest), "{pulled}");
        puller.fsck();
    }
}
