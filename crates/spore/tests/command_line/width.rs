//! Eighty columns are enough for every help and for what every verb prints.

use std::collections::BTreeSet;

use crate::harness::run::in_parallel;
use crate::harness::terminal::{self, too_wide};
use crate::harness::{Spore, files};
use crate::{leave_dead_sandbox, user};

/// All verbs, and those below them, as words: `hub`, `hub serve`. The manual has a page of each.
fn verbs(spore: &Spore) -> Vec<Vec<String>> {
    let folder = files::scratch("man");
    spore.run(["man".as_ref(), folder.path().as_os_str()]).succeeds();
    let names = files::entries(folder.path());
    let words = names.iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.split('-').skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    let verbs: Vec<_> = words.collect();
    assert!(verbs.len() > 30 && verbs.contains(&vec!["hub".to_owned(), "serve".to_owned()]), "{verbs:?}");
    verbs
}

#[test]
fn every_help_fits() {
    let spore = Spore::new();
    let verbs = verbs(&spore);
    let wide = in_parallel(&verbs, |verb| {
        let helps = ["--help", "-h"].map(|flag| {
            let help = spore.command(verb).args([flag]).finish().succeeds();
            let at_terminal = terminal::shown(spore.command(verb).args([flag]), 80, "");
            assert!(help.text().contains("Usage:"), "{help}");
            // What is more, a terminal that is wider changes nothing.
            let wider = terminal::shown(spore.command(verb).args([flag]), 200, "");
            assert_eq!(at_terminal, wider);
            too_wide(&verb.join(" "), help.text())
        });
        helps.concat()
    });
    assert!(wide.concat().is_empty(), "{}", wide.concat().join("\n"));
}

/// Verbs whose output is somebody else's (a guest's, a snapshot's, a shell's), or that need a VM
/// (`exec_and_eval/width.rs`).
const ELSEWHERE: &[&str] = &[
    "bake",
    "completions",
    "cp",
    "eval",
    "exec",
    "fork",
    "hub serve",
    "login",
    "logout",
    "logs",
    "pack",
    "run",
];

/// Command lines that succeed, in this order. `HUB` and `HUB2` are folders of hubs, `PACK` is a pack.
const LINES: &[&str] = &[
    "version",
    "images",
    "inspect sample",
    "tag sample other/name:2",
    "push sample --hub HUB --dry-run",
    "push sample --hub HUB",
    "push team/sample:1.2.3-rc1 --hub HUB",
    "inspect sample --referrers --hub HUB",
    "images --hub HUB",
    "pull --hub HUB sample --dry-run",
    "pull --hub HUB sample --no-layout",
    "hub copy --from HUB --to HUB2 sample --dry-run",
    "hub index HUB --url https://hub.example",
    "hub prune HUB --dry-run",
    "hub token new --name alice --push alice/",
    "unpack PACK --dry-run",
    "unpack PACK",
    "du",
    "config",
    "doctor",
    "doctor --fix --dry-run",
    "ps",
    "ps --all",
    "rm other/name:2",
    "prune --dry-run",
    "fsck",
    "kill --all",
    "prune --all",
];

#[test]
fn what_every_verb_prints_fits() {
    let spore = user();
    let folder = files::scratch("width");
    let (hub, pack) = (folder.path().join("hub"), folder.path().join("pack"));
    spore.run(["pack".as_ref(), "sample".as_ref(), "-o".as_ref(), pack.as_os_str()]).succeeds();
    leave_dead_sandbox(&spore);
    let mut wide = Vec::new();
    for line in LINES {
        let place =
            |word: &str| word.replace("HUB", hub.to_str().unwrap()).replace("PACK", pack.to_str().unwrap());
        // What it says on standard error is told from what it prints.
        let words: Vec<_> = ["--quiet".to_owned()].into_iter().chain(line.split(' ').map(place)).collect();
        let shown = terminal::shown(spore.command(&words), 80, "");
        assert!(!shown.starts_with("spore:") && !shown.contains("error:"), "{line}: {shown}");
        assert!(!shown.contains('\u{1b}'), "{line}: {shown}");
        wide.extend(too_wide(line, &shown));
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn no_verb_is_forgotten() {
    let spore = Spore::new();
    let begins = |line: &str, verb: &str| line == verb || line.starts_with(&format!("{verb} "));
    let forgotten: BTreeSet<_> = verbs(&spore)
        .into_iter()
        .map(|words| words.join(" "))
        .filter(|verb| !verb.is_empty() && !ELSEWHERE.contains(&verb.as_str()))
        .filter(|verb| !LINES.iter().any(|line| begins(line, verb)))
        .collect();
    assert!(forgotten.is_empty(), "neither in LINES nor in ELSEWHERE: {forgotten:?}");
}

#[test]
fn what_is_no_terminal_gets_a_row_a_line() {
    let spore = user();
    let inspected = spore.run(["inspect", "sample"]).succeeds();
    let digest = spore.json(["inspect", "sample"])["parts"][0]["digest"].as_str().unwrap().to_owned();
    let row = |text: &str| {
        text.lines().any(|line| {
            line.contains(&digest) && line.contains(" MiB")
                || line.contains(&digest) && line.contains(" KiB")
                || line.contains(&digest) && line.contains(" B")
        })
    };
    assert!(row(inspected.text()), "{inspected}");
    // And a terminal that is wide enough as well.
    let shown = terminal::shown(spore.command(["inspect", "sample"]), 200, "");
    assert!(row(&shown), "{shown}");
    assert!(!row(&terminal::shown(spore.command(["inspect", "sample"]), 80, "")));
}
