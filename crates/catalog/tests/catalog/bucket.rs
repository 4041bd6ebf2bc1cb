//! A bucket of a real S3 store has the catalogue that a folder with the same snapshots has, and a browser gets it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Heading, html, read};
use hub::testing::garage::RealGarage;
use hub::testing::{SampleSpec, no_access, publish};
use hub::{HubLocation, Page, Registry};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_catalogued_as_a_folder_is() {
    let Some(garage) = RealGarage::shared("catalog::a_bucket_is_catalogued_as_a_folder_is") else { return };
    let bucket = garage.bucket("catalogued");
    let folder = tempfile::tempdir().unwrap();
    let in_folder = HubLocation::folder(&folder.path().join("hub")).unwrap();
    let in_folder = catalogue(hub::open(&in_folder, &no_access()).unwrap()).await;
    let hub = hub::open(&bucket.location("shelf"), &bucket.access()).unwrap();
    let in_bucket = catalogue(Arc::clone(&hub)).await;
    assert_eq!(in_bucket.to_json().unwrap(), in_folder.to_json().unwrap());

    let (page, document) = (html(&in_bucket).unwrap(), in_bucket.to_json().unwrap());
    let site = hub.site().unwrap();
    site.put_page(Page::Html, page.clone().into_bytes()).await.unwrap();
    site.put_page(Page::Catalog, document.clone()).await.unwrap();
    site.refresh_index().await.unwrap();
    let web = bucket.publish();
    let (head, body) = get(&web, "/shelf/index.html");
    assert!(head.to_lowercase().contains("content-type: text/html; charset=utf-8"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), page);
    let (head, body) = get(&web, "/shelf/catalog.json");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert_eq!(body, document);
}

async fn catalogue(hub: Arc<dyn Registry>) -> Catalog {
    for name in ["one", "team/two"] {
        let (parsed, tag) = (name.parse().unwrap(), "1".parse().unwrap());
        let spec = SampleSpec { seed: name, ..SampleSpec::default() };
        publish(Arc::clone(&hub), &parsed, &tag, &spec, |_, _| {}).await.unwrap();
    }
    read(hub, &()).await.unwrap().finish(&Heading::at_url("Two", "https://hub.example").unwrap())
}

/// What a web server gives for a path: head and body.
fn get((addr, host): &(SocketAddr, String), path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(end + 4);
    (String::from_utf8(bytes).unwrap(), body)
}
