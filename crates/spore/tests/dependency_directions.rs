//! What ARCHITECTURE.md says of the crates, held by a test: who may depend on whom, and what must not be in where.
//!
//! Everything is read from the sources and manifests themselves; nothing is built and nothing comes from outside.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of this workspace that each crate may use, in builds and in tests. Dependencies point down.
const MAY_USE: &[(&str, &[&str])] = &[
    ("format", &[]),
    ("agent-protocol", &[]),
    ("tar-stream", &[]),
    ("archive", &["tar-stream"]),
    ("host", &[]),
    ("memory", &["format"]),
    ("store", &["format", "host"]),
    ("rootfs", &["format", "tar-stream"]),
    ("engine", &["format", "host"]),
    ("hub", &["format", "store"]),
    ("catalog", &["format", "hub"]),
    ("pack", &["format", "store", "tar-stream"]),
    ("hub-server", &["format", "hub", "store"]),
    ("agent", &["agent-protocol", "archive"]),
    ("sandbox", &["agent-protocol", "engine", "format", "host", "memory", "rootfs", "store"]),
    (
        "spore",
        &[
            "agent-protocol",
            "archive",
            "catalog",
            "engine",
            "format",
            "host",
            "hub",
            "hub-server",
            "pack",
            "rootfs",
            "sandbox",
            "store",
        ],
    ),
];

/// Crates from outside that decide what a crate is, and the only ones of ours that may use them: the terminal is
/// the binary's, and async ends where there is neither a network nor a VM to wait for.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("clap", &["spore"]),
    ("clap_complete", &["spore"]),
    ("clap_mangen", &["spore"]),
    ("indicatif", &["spore"]),
    ("signal-hook", &["spore"]),
    ("textwrap", &["spore"]),
    ("tracing-subscriber", &["spore"]),
    ("tokio", &["catalog", "hub", "hub-server", "sandbox", "spore"]),
    ("hyper", &["hub-server"]),
    ("async-trait", &["hub", "sandbox", "spore"]),
    ("futures-util", &["catalog", "hub", "hub-server", "sandbox", "spore"]),
];

/// The crates that may hold `unsafe` code.
const MAY_BE_UNSAFE: &[&str] = &["agent", "host", "memory"];

/// The crates whose code may say an engine's name: its own, the persisted `engine.kind`, and where it is wired in.
/// Tests anywhere may, since they make snapshots up.
const MAY_NAME_ENGINES: &[&str] = &["engine", "format", "spore"];
const ENGINE_NAMES: &[&str] = &["qemu", "qmp", "firecracker", "cloud_hypervisor", "cloud-hypervisor"];

#[test]
fn crates_depend_downwards_only() {
    let mut wrong = Findings::default();
    for (name, manifest) in manifests() {
        let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == name) else {
            wrong.add(format_args!("crate {name} is not in the table of this test"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            let is_ours = MAY_USE.iter().any(|(known, _)| *known == dependency);
            // A crate's tests may take the crate itself with other features.
            if is_ours && dependency != name && !may_use.contains(&dependency.as_str()) {
                wrong.add(format_args!("{name} depends on {dependency}"));
            }
        }
    }
    wrong.assert_none();
}

#[test]
fn terminal_and_async_crates_stay_where_they_belong() {
    let mut wrong = Findings::default();
    for (name, manifest) in manifests() {
        for dependency in dependencies(&manifest) {
            let rule = ONLY_IN.iter().find(|(restricted, _)| *restricted == dependency);
            if rule.is_some_and(|(_, allowed)| !allowed.contains(&name.as_str())) {
                wrong.add(format_args!("{name} depends on {dependency}"));
            }
        }
    }
    wrong.assert_none();
}

#[test]
fn unsafe_code_is_allowed_in_three_crates_only() {
    let mut wrong = Findings::default();
    for source in sources() {
        if !MAY_BE_UNSAFE.contains(&source.krate.as_str()) {
            for (number, _) in source.code_lines().filter(|(_, code)| code.contains("(unsafe_code")) {
                wrong.add(format_args!("{}:{number} changes the lint unsafe_code", source.path.display()));
            }
        }
    }
    wrong.assert_none();
}

#[test]
fn engines_are_named_by_few() {
    let mut wrong = Findings::default();
    for source in sources() {
        if MAY_NAME_ENGINES.contains(&source.krate.as_str()) || source.is_for_tests() {
            continue;
        }
        for (number, code) in source.code_lines().take_while(|(_, code)| *code != "mod tests {") {
            let code = code.to_ascii_lowercase();
            if let Some(name) = ENGINE_NAMES.iter().find(|name| code.contains(**name)) {
                wrong.add(format_args!("{}:{number} names {name}", source.path.display()));
            }
        }
    }
    wrong.assert_none();
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut wrong = Findings::default();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.add(format_args!("{} does not open with `//!`", source.path.display()));
        }
    }
    wrong.assert_none();
}

/// All that a test found wrong, shown at once: whoever broke a rule in three places wants to see three.
#[derive(Default)]
struct Findings(String);

impl Findings {
    fn add(&mut self, finding: std::fmt::Arguments<'_>) {
        writeln!(self.0, "  {finding}").expect("a String can be written to");
    }

    fn assert_none(&self) {
        assert!(self.0.is_empty(), "against ARCHITECTURE.md:\n{}", self.0);
    }
}

/// A file below some crate's `src`.
struct Source {
    krate: String,
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_for_tests(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.ends_with("testing.rs")
    }

    /// The lines with their numbers, from 1, without comments. Anything behind `//` counts as a comment, also in a
    /// string: what is asked of the lines here can stand that.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let without_comment = |line| str::split_once(line, "//").map_or(line, |(code, _)| code);
        self.text.lines().map(without_comment).enumerate().map(|(index, code)| (index + 1, code))
    }
}

fn crate_folders() -> Vec<(String, PathBuf)> {
    let folders =
        entries(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in crates/"));
    let crates: Vec<_> = folders
        .into_iter()
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .map(|folder| {
            (folder.file_name().expect("an entry has a name").to_string_lossy().into_owned(), folder)
        })
        .collect();
    assert!(crates.len() >= MAY_USE.len(), "crates of the table are missing: {crates:?}");
    crates
}

fn manifests() -> impl Iterator<Item = (String, toml::Table)> {
    crate_folders().into_iter().map(|(name, folder)| {
        let path = folder.join("Cargo.toml");
        let manifest = read(&path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (name, manifest)
    })
}

/// The packages in every dependency table of a manifest, those for one target only included, by their own names.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let tables = |of: &toml::Table| -> Vec<toml::Table> {
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|kind| of.get(*kind)?.as_table().cloned())
            .collect()
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let per_target = targets.into_iter().flat_map(|all| all.values()).filter_map(toml::Value::as_table);
    tables(manifest)
        .into_iter()
        .chain(per_target.flat_map(tables))
        .flatten()
        .map(|(key, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(&key).to_owned())
        .collect()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for (krate, folder) in crate_folders() {
        let mut pending = vec![folder.join("src")];
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(entries(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source { krate: krate.clone(), text: read(&path), path });
            }
        }
    }
    sources
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
