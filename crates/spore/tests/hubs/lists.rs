//! `spore images --hub`, for all that can be listed, and for what cannot.

use std::fs;

use hub::testing::nginx::{Behind, NginxOptions, RealNginx};

use crate::harness::Spore;
use crate::harness::hubs::{Hub, NAME, Server, bake, user};

/// Asserts that the hub lists what was pushed to it, for people and for programs.
#[track_caller]
fn assert_lists(spore: &Spore, location: &str, digest: &str) {
    let listed = spore.json(["images", "--hub", location]);
    let images = listed["images"].as_array().unwrap();
    assert_eq!((images.len(), &listed["problems"]), (1, &serde_json::json!([])), "{listed}");
    let image = &images[0];
    assert_eq!(
        (&image["name"], &image["tag"], &image["digest"]),
        (&NAME.into(), &"1".into(), &digest.into())
    );
    assert!(image["total_bytes"].as_u64().unwrap() > 400 * 4096, "{listed}");
    assert_eq!((&image["is_variant"], &image["accelerator"]), (&false.into(), &"tcg".into()));
    let text = spore.run(["images", "--hub", location]).succeeds();
    let lines: Vec<_> = text.text().lines().collect();
    let short = digest.strip_prefix("sha256:").unwrap().get(..12).unwrap();
    assert!(lines.len() == 2 && lines[0].starts_with("NAME"), "{text}");
    assert!(lines[1].contains(&format!("/{NAME} ")) && lines[1].contains(short), "{text}");
    let named = spore.json(["images", "--hub", location, NAME]);
    assert_eq!(named["images"], listed["images"]);
    spore.run(["images", "--hub", location, "team/other"]).exits_with(5);
}

#[test]
fn every_kind_lists_what_it_has() {
    const TEST: &str = "hubs_of_all_kinds::lists::every_kind_lists_what_it_has";
    let served = Hub::served();
    let Server::Served(server) = &served.server else { panic!("{served:?}") };
    let as_web = server.url.clone();
    let others = [Hub::bucket(TEST), Hub::registry(TEST), Hub::web(TEST)];
    for hub in others.into_iter().flatten().chain([Hub::folder()]).chain([served]) {
        let spore = user([&hub]);
        let digest = bake(&spore, "sample");
        hub.push(&spore, "sample");
        assert_lists(&spore, &hub.location, &digest);
        if let Server::Served(_) = hub.server {
            assert_lists(&spore, &as_web, &digest);
        }
    }
}

#[test]
fn what_cannot_be_listed_says_what_to_do() {
    let test = "hubs_of_all_kinds::lists::what_cannot_be_listed_says_what_to_do";
    let Some(web) = Hub::web(test) else { return };
    let spore = user([]);
    let digest = bake(&spore, "sample");
    spore.run(["images", "--hub", &web.location]).exits_with(3).says(&["no hub", "oci-layout"]);
    web.push(&spore, "sample");
    fs::remove_file(web.path().join("index.json")).unwrap();
    let silent = spore.run(["images", "--hub", &web.location]).exits_with(1);
    let silent = silent.says(&["index.json", "spore hub index"]);
    assert!(!silent.error().contains("name what you look for"), "names are no help: {silent}");
    web.assert_gives(&digest);
    spore.run(["hub", "index", &web.pushed_at]).succeeds();
    assert_lists(&spore, &web.location, &digest);

    let Some(registry) = Hub::registry(test) else { return };
    let Server::Registry(server) = &registry.server else { panic!("{registry:?}") };
    registry.push(&spore, "sample");
    let behind = Behind::Server { addr: server.addr(), rules: "location /v2/_catalog { return 404; }" };
    let nginx = RealNginx::start(test, behind, &NginxOptions::default()).unwrap();
    let location = format!("oci://{}", nginx.host());
    let silent = spore.run(["images", "--hub", &location]);
    silent.exits_with(1).says(&["cannot list names", "spore images --hub HUB NAME"]);
    assert_eq!(spore.json(["images", "--hub", &location, NAME])["images"][0]["digest"], digest);
}
