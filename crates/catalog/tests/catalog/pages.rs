//! What the document and the page say of a hub that looks real.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::{Catalog, Heading, Listing, html, testing};
use format::Digest;

/// The real-looking hub's catalogue.
pub(crate) fn catalog() -> Catalog {
    let heading = Heading::at_url("Warm machines", "https://hub.example/").unwrap();
    testing::hub().unwrap().finish(&heading)
}

#[test]
fn the_document_is_read_as_it_was_written() {
    let catalog = catalog();
    let json = catalog.to_json().unwrap();
    assert_eq!(serde_json::from_slice::<Catalog>(&json).unwrap(), catalog);
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&document["version"], &document["hub"]), (&0.into(), &"https://hub.example".into()));
    // So that two of them can be compared with diff.
    let text = String::from_utf8(json).unwrap();
    assert!(text.lines().any(|line| line.starts_with("{\"name\":\"python3-numpy\",") && line.len() < 300));
}

#[test]
fn nothing_is_loaded_and_only_its_own_script_may_run() {
    let page = html(&catalog()).unwrap();
    let between = |start: &str, end: &str| page.split_once(start).unwrap().1.split_once(end).unwrap().0;
    let hash =
        |content: &str| format!("'sha256-{}'", STANDARD.encode(Digest::of(content.as_bytes()).as_bytes()));
    let policy = between("Content-Security-Policy\" content=\"", "\"").replace("&#39;", "'");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains(&format!("style-src {};", hash(between("<style>", "</style>")))), "{policy}");
    assert!(policy.contains(&format!("script-src {};", hash(between("<script>", "</script>")))), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for loaded in ["src=", "url(", "@import", "<link rel=\"stylesheet", "<img", "<iframe", " style="] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

#[test]
fn what_leads_elsewhere_on_the_page_arrives() {
    let page = html(&catalog()).unwrap();
    let targets: Vec<_> = page.split("id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut distinct = targets.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), targets.len(), "an id is there once");
    let links: Vec<_> = page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        assert!(targets.contains(&link), "#{link}");
    }
}

#[test]
fn an_empty_hub_says_so() {
    let page = html(&Listing::default().finish(&Heading::new("Empty", "/srv/hub").unwrap())).unwrap();
    assert!(page.contains("This hub is empty."));
    assert!(page.contains("0 names · 0 snapshots · 0\u{a0}B"));
}

#[test]
fn more_than_a_catalogue_holds_is_refused() {
    let mut listing = Listing::default();
    let mut made = testing::SKETCH.describe();
    made.config.provenance.packages.clear();
    let mut added = (0..=4096_u32).map(|n| {
        made.digest = Digest::of(&n.to_le_bytes());
        listing.add_snapshot(&made)
    });
    let error = added.find_map(Result::err).unwrap();
    assert!(error.to_string().contains("more snapshots than the 4096"), "{error}");
    let error = testing::large_hub(4000, 1000).unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
}
