//! `coding-agent`: every fork tests and commits a small project of its own; what one changes, no other sees.

use std::fs;

use crate::harness::run::{Outcome, Run};
use crate::harness::{Spore, files};
use crate::journey::Journey;

const MODULE: &str = "def area(width, height):\n    return width * height\n";
const TESTS: &str = "from shapes import area\n\n\ndef test_area():\n    assert area(2, 3) == 6\n";
const PATCH: &str = "--- a/shapes.py\n+++ b/shapes.py\n@@ -1,2 +1,2 @@\n def area(width, height):\n\
                     -    return width * height\n+    return width + height\n";

#[test]
fn coding_agent() {
    Journey { recipe: "coding-agent", marked: false, forks: 2, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    put_project(spore, id);
    assert_passes(&in_project(spore, id, &["pytest", "-q"]).finish().succeeds());
}

fn uses(spore: &Spore, forks: &[String]) {
    let (edits, keeps) = (&forks[0], &forks[1]);
    for id in forks {
        first_answer(spore, id);
        let commit =
            format!("git init -q && git add . && git commit -qm 'by {id}' && git log --format='%s, %an'");
        assert_eq!(spore.sh(id, &format!("cd /work && {commit}")), format!("by {id}, Coding Agent"));
    }

    in_project(spore, edits, &["patch", "-p1"]).stdin(PATCH).finish().succeeds();
    let failed = in_project(spore, edits, &["pytest", "-q"]).finish().exits_with(1);
    assert!(failed.text().contains("assert 5 == 6"), "{failed}");
    assert_passes(&in_project(spore, keeps, &["pytest", "-q"]).finish().succeeds());
    let says = |id, command: &[&str]| in_project(spore, id, command).finish().succeeds().text().to_owned();
    assert_eq!(says(edits, &["rg", "-l", "width [+] height", "."]), "./shapes.py");
    assert_eq!(says(edits, &["git", "diff", "--name-only"]), "shapes.py");
    assert_eq!(says(keeps, &["git", "diff", "--name-only"]), "");

    // By the process that has pytest imported: twice, since the first run must not leave its modules there.
    assert!(spore.eval(edits, "test('-q')").ends_with("\n1"), "the edit is tested");
    in_project(spore, edits, &["git", "checkout", "-q", "shapes.py"]).finish().succeeds();
    assert!(spore.eval(edits, "test('-q')").ends_with("\n0"), "the edit was taken back");
}

/// Copies a project in as a user would, by tar.
fn put_project(spore: &Spore, id: &str) {
    let folder = files::scratch("project");
    fs::write(folder.path().join("shapes.py"), MODULE).expect("a file can be written");
    fs::write(folder.path().join("test_shapes.py"), TESTS).expect("a file can be written");
    let packed = Run::new("tar").args(["-c", "-C"]).args([folder.path()]).args(["."]).finish().succeeds();
    let unpack = in_project(spore, id, &["tar", "-x", "--no-same-owner"]);
    unpack.stdin(packed.stdout).finish().succeeds();
}

/// A command in the project's folder.
fn in_project(spore: &Spore, id: &str, command: &[&str]) -> Run {
    spore.command(["exec", id, "--interactive", "--cwd", "/work", "--"]).args(command)
}

fn assert_passes(pytest: &Outcome) {
    assert!(pytest.text().contains("1 passed"), "{pytest}");
}
