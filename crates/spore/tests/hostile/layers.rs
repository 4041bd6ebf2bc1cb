//! A layer whose bytes are not those of its identity.

use crate::arena::{Arena, FORGED};
use crate::case::Carrier;
use crate::harness::run::Run;

/// However it comes, a layer is what it claims or is not attached.
pub fn is_what_it_claims(carrier: Carrier) {
    let arena = Arena::new(carrier);
    let mut draft = arena.draft();
    draft.edit_frames("layer1", |blob| blob.write(blob.find(b"root:x:0:0"), b"evil"));
    let content = draft.config["disks"][1]["content"].as_str().unwrap().to_owned();
    arena.forge(draft);
    let flat = arena.spore.root().join("flat").join(content.replace("sha256:", "layer-"));
    let is_refused = |run: Run| {
        run.finish().exits_with(5).says(&["a layer has the content", "declares", &content]);
        assert!(!flat.exists(), "it was kept");
    };
    // All else is here, and nothing of it under way, when this is found out.
    arena.pull_only("tiny").finish().succeeds();
    arena.leaves_nothing(|| is_refused(arena.bring(&[])));
    arena.command(["rm", "tiny"]).finish().succeeds();
    arena.leaves_nothing(|| {
        arena.bring(&["--no-layout"]).finish().succeeds();
        is_refused(arena.fork(FORGED));
        arena.command(["rm", FORGED]).finish().succeeds();
    });
    arena.leaves_nothing(|| {
        // With the true layer at hand the forged one is not even read: the digest decides what is attached.
        arena.pull("tiny").finish().succeeds();
        let kill = |id: String| arena.command(["kill", &id]).finish().succeeds();
        kill(arena.fork("tiny").finish().succeeds().text().to_owned());
        arena.bring(&[]).finish().succeeds();
        let id = arena.fork(FORGED).finish().succeeds().text().to_owned();
        assert_eq!(arena.spore.sh(&id, "cut -d: -f1 /etc/passwd | head -1"), "root");
        kill(id);
        arena.command(["rm", FORGED, "tiny"]).finish().succeeds();
    });
    arena.assert_clean();
}
