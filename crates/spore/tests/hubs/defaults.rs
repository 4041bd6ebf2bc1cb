//! The default hub, of the configuration file and of `SPORE_DEFAULT_HUB`.

use crate::harness::hubs::{Hub, NAME, NAME_1, bake, configure, user};

#[test]
fn the_default_hub_is_meant_where_none_is_named() {
    let test = "hubs_of_all_kinds::defaults::the_default_hub_is_meant_where_none_is_named";
    let Some(registry) = Hub::registry(test) else { return };
    let (baker, puller) = (user([]), user([]));
    let text = format!("default_hub = 'acme'\n[hubs]\nacme = '{}'\n", registry.location);
    configure(&baker, &text);
    configure(&puller, &text);
    let digest = bake(&baker, "sample");
    let pushed = baker.json(["push", "sample:1", NAME_1]);
    assert_eq!(
        (&pushed["hub"], &pushed["digest"]),
        (&registry.location.clone().into(), &digest.clone().into())
    );
    assert_eq!(puller.json(["images", "--hub"])["images"][0]["name"], NAME);
    assert_eq!(puller.json(["images", "--hub", "acme", NAME])["hub"], registry.location);
    let pulled = puller.json(["pull", NAME_1]);
    assert_eq!(
        (&pulled["digest"], &pulled["name"]),
        (&digest.clone().into(), &format!("acme/{NAME_1}").into())
    );
    // What came from there is known by its short name as well.
    assert_eq!(puller.json(["inspect", NAME_1])["digest"], digest);
    let config = puller.run(["config"]).succeeds();
    assert!(config.text().contains("acme"), "{config}");

    for verb in [&["pull", "team/absent"][..], &["run", "team/absent", "--", "true"]] {
        let absent = puller.run(verb);
        let code = if verb[0] == "run" { 125 } else { 3 };
        absent.exits_with(code).says(&["team/absent:latest", &registry.location]);
    }
    puller.run(["fork", "team/absent"]).exits_with(3).says(&["team/absent"]);
}

#[test]
fn the_variable_wins_over_the_file() {
    let Some(bucket) = Hub::bucket("hubs_of_all_kinds::defaults::the_variable_wins_over_the_file") else {
        return;
    };
    let folder = Hub::folder();
    let text = format!("default_hub = '{}'\n", folder.location);
    let baker = user([&bucket]);
    configure(&baker, &text);
    let (one, two) = (bake(&baker, "one"), bake(&baker, "two"));
    assert_eq!(baker.json(["push", "one:1", NAME_1])["hub"], folder.location);
    let baker = baker.env("SPORE_DEFAULT_HUB", &bucket.location);
    assert_eq!(baker.json(["push", "two:1", NAME_1])["hub"], bucket.location);
    assert_eq!(baker.json(["images", "--hub"])["images"][0]["digest"], two);
    assert_eq!(baker.json(["hub", "index", "--dry-run"])["snapshots"], 1);

    let puller = user([&bucket]);
    configure(&puller, &text);
    assert_eq!(puller.json(["pull", NAME_1])["digest"], one);
    // One that is set and empty counts as not set.
    let puller = puller.env("SPORE_DEFAULT_HUB", "");
    assert_eq!(puller.json(["pull", NAME_1])["hub"], folder.location);
    let puller = puller.env("SPORE_DEFAULT_HUB", &bucket.location);
    assert_eq!(puller.json(["pull", NAME_1])["digest"], two);
    // From hub to hub, too.
    let copied = puller.json(["hub", "copy", "--from", &folder.location, NAME_1, "team/copied"]);
    assert_eq!((&copied["hub"], &copied["digest"]), (&bucket.location.clone().into(), &one.into()));
    // A mistyped alias is no folder that a push would make.
    let baker = baker.env("SPORE_DEFAULT_HUB", "amce");
    baker.run(["push", "one:1"]).exits_with(2).says(&["SPORE_DEFAULT_HUB", "amce", "no alias in [hubs]"]);
}

#[test]
fn without_a_default_hub_the_error_says_where_to_set_it() {
    let spore = user([]);
    bake(&spore, "sample");
    let told = ["no hub is named", "--hub", "default_hub", "config.toml"];
    for verb in [&["pull", "absent"][..], &["push", "sample:1"], &["hub", "copy", "absent"]] {
        spore.run(verb).exits_with(2).says(&told);
    }
    spore.run(["images", "--hub"]).exits_with(2).says(&["no hub is named", "default_hub"]);
    spore.run(["run", "absent", "--", "true"]).exits_with(125).says(&["absent is not here", "default_hub"]);
    configure(&spore, "default_hub = 'acme'\n");
    spore.run(["pull", "absent"]).exits_with(2).says(&["config.toml", "acme", "no alias in [hubs]"]);
}
