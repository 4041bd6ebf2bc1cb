//! What a guest sees of an image of 40 layers, most of which became one, is what the layers are one after another.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod harness;
#[path = "deep/model.rs"]
mod model;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use format::Digest;
use harness::image::{Layer, write_layout};
use harness::needs::{Need, find_program, say_skipped, skipped};
use harness::shared::seed_cache;
use harness::{Spore, files};
use model::{Kind, Node, Random, RandomLayer, TOP, Tree};
use serde_json::json;
use tar::EntryType;

const TEST: &str = "deep_images";
const LAYERS: usize = 40;
/// Another one tries other layers.
const SEED: u64 = 0x5b0e_001b;

#[test]
fn deep_images() {
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let programs = ["busybox", "find", "getfattr"].map(find_program);
    let [Some(busybox), Some(find), Some(getfattr)] = programs else {
        say_skipped(TEST, "missing: busybox, find or getfattr (packages busybox-static, findutils, attr)");
        return;
    };
    let folder = files::scratch("deep");
    let mut random = Random::new(SEED);
    let mut tree = Tree::new();
    let mut layers = vec![userland(&busybox, &[find, getfattr])];
    layers.extend((2..LAYERS).map(|_| RandomLayer::put(&mut random, &mut tree)));
    // The root looks as the uppermost layer says.
    layers.push(Layer::new().folder("./", 0o1751, 7).build());
    write_layout(&folder.path().join("layout"), &layers, &json!({"WorkingDir": "/made/for it"}));
    let text = "name = \"deep\"\nversion = \"1\"\n[base]\nimage = \"oci:layout\"\n\
                [machine]\nmemory = \"128MiB\"\ndisk = \"64MiB\"\n";
    fs::write(folder.path().join("recipe.toml"), text).unwrap();
    let spore = Spore::new();
    seed_cache(spore.root());
    spore.bake(folder.path());
    let id = &spore.fork("deep", 1)[0];
    assert_eq!(spore.sh(id, "pwd; stat -c '%a %u %g' /"), "/made/for it\n1751 7 7");
    // By their paths: the shell takes its own for the same otherwise.
    let found = spore.sh(id, &format!("cd / && /bin/find {TOP} -printf '%p|%y|%m|%U|%G|%T@|%l\\n'"));
    assert_lines(&found, tree.iter().map(|(path, node)| line(path, node)));
    let sums = spore.sh(id, &format!("cd / && /bin/find {TOP} -type f -exec sha256sum {{}} +"));
    let files = tree.iter().filter_map(|(path, node)| match &node.kind {
        Kind::File(content) => Some(format!("{}  {path}", Digest::of(content).hex())),
        _ => None,
    });
    assert_lines(&sums, files);
    let values = "for path in $(/bin/find t -type f -o -type d); do
            value=$(/bin/getfattr -h --only-values -n user.mark $path 2>/dev/null | wc -c)
            names=$(/bin/getfattr -h -m - $path 2>/dev/null | grep -c '^user\\|^trusted' || true)
            echo $path $names $value
        done";
    let attributes = spore.sh(id, &format!("cd / && {values}"));
    let has_some = |node: &&Node| matches!(node.kind, Kind::File(_) | Kind::Folder);
    let expected = tree.iter().filter(|(_, node)| has_some(node)).map(|(path, node)| match &node.attribute {
        Some(value) => format!("{path} 1 {}", value.len()),
        None => format!("{path} 0 0"),
    });
    assert_lines(&attributes, expected);
    spore.run(["kill", id]).succeeds();
}

/// A shell, and the host's own programs with the libraries that they need.
fn userland(busybox: &Path, programs: &[PathBuf]) -> Vec<u8> {
    let names = ["sh", "cat", "stat", "sha256sum", "wc", "grep", "sleep", "true"];
    let layer = Layer::new().file("bin/busybox", &fs::read(busybox).unwrap(), 0o755, 0);
    let mut layer = names
        .iter()
        .fold(layer, |layer, name| layer.link(EntryType::Symlink, &format!("bin/{name}"), "busybox"));
    let mut libraries = std::collections::BTreeSet::new();
    for program in programs {
        let name = program.file_name().unwrap().to_str().unwrap();
        layer = layer.file(&format!("bin/{name}"), &fs::read(program).unwrap(), 0o755, 0);
        let said = Command::new("ldd").arg(program).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        libraries.extend(said.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for library in libraries {
        let content = fs::read(&library).unwrap();
        layer = layer.file(library.trim_start_matches('/'), &content, 0o755, 0);
    }
    for folder in ["proc", "run", "tmp", "etc"] {
        layer = layer.folder(folder, 0o755, 0);
    }
    layer.build()
}

/// What `find` prints of it.
fn line(path: &str, node: &Node) -> String {
    let (letter, target) = match &node.kind {
        Kind::Folder => ('d', ""),
        Kind::File(_) => ('f', ""),
        Kind::Symlink(target) => ('l', target.as_str()),
        Kind::Fifo => ('p', ""),
    };
    let Node { mode, uid, gid, time: (seconds, nanoseconds), .. } = node;
    format!("{path}|{letter}|{mode:o}|{uid}|{gid}|{seconds}.{nanoseconds:09}0|{target}")
}

#[track_caller]
fn assert_lines(found: &str, expected: impl Iterator<Item = String>) {
    let mut found: Vec<&str> = found.lines().collect();
    let mut expected: Vec<String> = expected.collect();
    found.sort_unstable();
    expected.sort_unstable();
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(&line.as_str())).collect();
    let unexpected: Vec<_> =
        found.iter().filter(|line| !expected.iter().any(|other| other == *line)).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "missing: {missing:#?}\nunexpected: {unexpected:#?}"
    );
    assert!(expected.len() >= 20, "the layers hide nearly all of each other: take another seed");
}
