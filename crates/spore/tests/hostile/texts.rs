//! Texts for people lead nowhere: they are kept as they are, and are neither file names nor terminal commands.

use serde_json::{Value, json};

use crate::arena::{Arena, FORGED, assert_plain};
use crate::case::Carrier;
use crate::forge::digest;
use crate::harness::files::random_word;

/// However they come, texts are neither paths nor commands of a terminal.
pub fn lead_nowhere(carrier: Carrier) {
    let arena = Arena::new(carrier);
    // Searched for by its name, wherever it should land.
    let word = random_word(16);
    let above = format!("../../../../{word}");
    let absolute = format!("{}/{word}", std::env::temp_dir().display());
    let escape = format!("\u{1b}]0;{word}\u{7}\u{1b}[2J{above}");
    let mut draft = arena.draft();
    draft.manifest["annotations"] = json!({
        "org.opencontainers.image.title": escape,
        "org.opencontainers.image.version": above,
        "org.opencontainers.image.created": absolute,
        "org.opencontainers.image.licenses": escape,
        "org.opencontainers.image.base.name": above,
        "dev.spore.parent.name": absolute,
        "../../escape": above,
    });
    for layer in draft.manifest["layers"].as_array_mut().unwrap() {
        layer["annotations"] = json!({ "org.opencontainers.image.title": above });
    }
    let recipe = json!({ "name": above, "version": escape, "digest": draft.config["engine"]["state"] });
    draft.config["provenance"]["recipe"] = recipe;
    draft.config["provenance"]["packages"] = json!([{
        "name": above, "version": escape, "licences": [absolute], "source": escape, "source_version": above,
    }]);
    draft.config["provenance"]["tools"] = json!({ above.clone(): escape });
    draft.config["provenance"]["kernel_version"] = json!(escape);
    draft.config["provenance"]["created_at"] = json!(absolute);
    let note = draft.attach(&above, b"an optional attachment of an unknown kind", false);
    let snapshot = arena.forge(draft);

    arena.leaves_nothing(|| {
        arena.bring(&[]).finish().succeeds();
        let id = arena.fork(FORGED).finish().succeeds().text().to_owned();
        for verb in [
            &["images"][..],
            &["inspect", FORGED],
            &["ps", "--all"],
            &["inspect", &id],
            &["prune", "--dry-run"],
        ] {
            assert_plain(&arena.command(verb.iter().copied()).finish().succeeds());
        }
        arena.command(["kill", &id]).finish().succeeds();
        // What is not known and not critical is kept, and the snapshot stays what it was.
        let mirror = arena.spore.root().join("../mirror");
        let mirror = mirror.to_str().unwrap();
        arena.command(["push", FORGED, "--hub", mirror]).finish().succeeds();
        let pushed = std::fs::read(format!("{mirror}/v2/{FORGED}/manifests/latest")).unwrap();
        assert_eq!(format::Digest::of(&pushed), snapshot);
        let manifest: Value = serde_json::from_slice(&pushed).unwrap();
        let last = manifest["layers"].as_array().unwrap().last().unwrap();
        assert_eq!(digest(&last["digest"]), note);
        std::fs::remove_dir_all(mirror).unwrap();
        arena.command(["rm", FORGED]).finish().succeeds();
    });
    let beside = arena.spore.root().ancestors().map(|folder| folder.join(&word));
    for path in beside.chain([std::env::temp_dir().join(&word)]) {
        assert!(!path.exists(), "{} was made", path.display());
    }
    arena.assert_clean();
}
