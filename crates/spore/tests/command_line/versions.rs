//! A store of another version.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::files;
use crate::user;

#[test]
fn a_store_without_a_version_is_read_and_given_one() {
    let spore = user();
    let version = spore.root().join("version");
    fs::remove_file(&version).unwrap();
    assert_eq!(spore.json(["images"])["images"].as_array().unwrap().len(), 2);
    assert_eq!(fs::read_to_string(version).unwrap(), "1\n");
    spore.fsck();
}

#[test]
fn a_newer_store_is_refused_by_every_verb_and_stays_as_it_is() {
    let spore = user();
    let version = spore.root().join("version");
    fs::write(&version, "7\n").unwrap();
    fs::write(spore.root().join("tmp/leftover"), "x").unwrap();
    let contents = || -> BTreeMap<_, _> {
        files::files_below(spore.root())
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    };
    let before = contents();
    for line in [
        "images",
        "ps",
        "du",
        "fsck",
        "prune --all",
        "rm sample:1",
        "inspect sample",
        "fork sample",
        "kill --all",
    ] {
        let refused = spore.run(line.split(' ')).exits_with(4);
        refused.says(&["version 7", "up to 1", "install", "--root", spore.root().to_str().unwrap()]);
    }
    spore.run(["exec", "abc", "--", "true"]).exits_with(125).says(&["version 7"]);
    spore.run(["doctor", "--fix", "--yes"]).exits_with(1);
    let doctor = spore.run(["doctor", "--format", "json"]).exits_with(1).json();
    assert!(doctor["checks"].to_string().contains("version 7"), "{doctor}");
    assert_eq!(contents(), before);
    fs::write(version, "1\n").unwrap();
}
