//! Eighty columns are enough for what the verbs print that need a VM; the others: `command_line/width.rs`.

use crate::harness::needs::{Need, skipped};
use crate::harness::shared::{Shared, seed_cache};
use crate::harness::terminal::{shown, too_wide};
use crate::harness::{Spore, files, recipes};

#[test]
fn what_verbs_with_a_vm_print_fits() {
    if skipped("exec_and_eval::what_verbs_with_a_vm_print_fits", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    seed_cache(spore.root());
    let running = spore.fork(&snapshot, 1).remove(0);
    let (folder, recipe) = (files::scratch("width"), recipes::shipped("tiny"));
    let (pack, recipe) = (folder.path().join("pack"), recipe.to_str().unwrap());
    let pack = pack.to_str().unwrap();
    let lines: [&[&str]; 9] = [
        &["fork", &snapshot, "-n", "2"],
        &["ps"],
        &["inspect", &running],
        &["exec", &running, "--", "true"],
        &["run", &snapshot, "--", "true"],
        &["pack", &snapshot, "-o", pack],
        &["cp", pack, &format!("{running}:/pack")],
        &["kill", &running],
        &["bake", recipe],
    ];
    let mut wide = Vec::new();
    for line in lines {
        // Progress fits by itself: what draws it cuts it.
        let shown = shown(spore.command(["--quiet"]).args(line), 80, "");
        assert!(!shown.contains("spore: "), "{line:?}: {shown}");
        wide.extend(too_wide(line[0], &shown));
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}
