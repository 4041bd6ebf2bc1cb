//! A served folder behind a network that breaks.

use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};

use crate::harness::hubs::{Hub, NAME, NAME_1, Server, bake, user};

/// A proxy before the server of a hub.
fn proxy(hub: &Hub, script: impl IntoIterator<Item = Rule>) -> FaultProxy {
    let Server::Served(served) = &hub.server else { panic!("{hub:?}") };
    FaultProxy::start(served.host().parse().unwrap(), script)
}

fn busy() -> Fault {
    Fault::answer(503, &[("Retry-After", "0")])
}

#[test]
fn a_push_through_cuts_and_refusals_ends_well() {
    let (hub, baker) = (Hub::served(), user([]));
    let digest = bake(&baker, "sample");
    let tag = format!("/v2/{NAME}/manifests/1");
    let script = [
        Rule::once(Fault::LoseAnswer).on("PUT", &tag),
        Rule::times(3, busy()).on("POST", "/v2/").after(1),
        Rule::times(2, Fault::CutRequest { after: 100 }).on("PUT", "/v2/"),
        Rule::times(2, Fault::LoseAnswer).on("PUT", "/v2/").after(1),
        Rule::times(2, busy()).on("HEAD", "/v2/").after(2),
    ];
    let proxy = proxy(&hub, script);
    proxy.cut(Direction::ToServer, 200_000);
    proxy.cut(Direction::ToClient, 100);
    let reference = format!("{}/{NAME_1}", proxy.addr());
    let pushed = baker.json(["push", "sample:1", &reference]);
    assert_eq!(pushed["digest"], digest);
    let blobs = hub.assert_blobs_are_whole();
    // What is seen to have been tried again.
    assert!(proxy.count("POST", "/v2/") > blobs && proxy.connections() > 2);
    assert_eq!(proxy.count("PUT", &tag), 2);
    hub.assert_gives(&digest);
}

#[test]
fn a_pull_through_cuts_and_refusals_ends_well() {
    let (hub, baker) = (Hub::served(), user([]));
    let digest = bake(&baker, "sample");
    hub.push(&baker, "sample");
    let count = hub.assert_blobs_are_whole();
    let blobs = format!("/v2/{NAME}/blobs/");
    let script = [
        Rule::once(busy()).on("GET", &format!("/v2/{NAME}/manifests/")),
        Rule::times(2, busy()).on("GET", &blobs).after(1),
        Rule::times(3, Fault::TruncateAnswer { after: 100 }).on("GET", &blobs),
        Rule::once(Fault::LoseAnswer).on("GET", &blobs).after(2),
    ];
    let proxy = proxy(&hub, script);
    proxy.cut(Direction::ToClient, 300);
    let spore = user([]);
    let pulled = spore.json(["pull", &format!("{}/{NAME_1}", proxy.addr())]);
    assert_eq!(pulled["digest"], digest);
    spore.fsck();
    assert_eq!(hub.assert_blobs_are_whole(), count);
    assert!(proxy.count("GET", &blobs) > count && proxy.connections() > 2);
}

#[test]
fn what_does_not_pass_is_a_named_error() {
    let (hub, baker) = (Hub::served(), user([]));
    let digest = bake(&baker, "sample");
    let refusing = proxy(&hub, [Rule::always(Fault::answer(403, &[])).on("PUT", "/v2/")]);
    let there = format!("{}/{NAME_1}", refusing.addr());
    baker.run(["push", "sample:1", &there]).exits_with(1).says(&["denied"]);
    refusing
        .set_script([Rule::always(Fault::answer(403, &[])).on("PUT", &format!("/v2/{NAME}/manifests/1"))]);
    baker.run(["push", "sample:1", &there]).exits_with(1).says(&["denied"]);
    // All but the tag is there; it was not moved, and what is there needs not be sent again.
    hub.assert_blobs_are_whole();
    let reader = user([]);
    reader.run(["pull", NAME_1, "--hub", &hub.location]).exits_with(3).says(&[NAME_1]);
    let pushed = hub.push(&baker, "sample");
    assert_eq!(pushed["sent_bytes"], 0);

    let lying =
        proxy(&hub, [Rule::always(Fault::CorruptAnswer { at: 9 }).on("GET", &format!("/v2/{NAME}/blobs/"))]);
    let there = format!("{}/{NAME_1}", lying.addr());
    let refused = reader.run(["pull", &there]).exits_with(5);
    refused.says(&["corrupt", &lying.addr().to_string()]);
    assert_eq!(reader.json(["images"])["images"], serde_json::json!([]));
    lying.set_script([]);
    assert_eq!(reader.json(["pull", &there])["digest"], digest);
    reader.fsck();
}
