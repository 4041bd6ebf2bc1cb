//! A container image in a registry becomes a base: what it holds, and how it says that its processes run, is what a guest has.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::Path;

use format::Digest;
use format::config::BaseOrigin;
use harness::frozen::Frozen;
use harness::image::{FILE_TIME, Layer, push, write_layout};
use harness::needs::{Need, find_program, skipped};
use harness::shared::seed_cache;
use harness::{Spore, files};
use hub::testing::registry::{Auth, RealRegistry, RegistryOptions};
use hub::testing::{PASSWORD, USER};
use serde_json::json;
use tar::EntryType;

const TEST: &str = "images_as_bases";
/// `CAP_SYS_CHROOT` permitted and effective, as `vfs_cap_data` of version 2.
const MAY_CHROOT: &[u8] = b"\x01\0\0\x02\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn images_as_bases() {
    if skipped(TEST, &[Need::Bake, Need::Skopeo]) {
        return;
    }
    let Some(busybox) = find_program("busybox") else {
        harness::needs::say_skipped(TEST, "missing: busybox (package busybox-static)");
        return;
    };
    let options = RegistryOptions { auth: Auth::Basic, ..RegistryOptions::default() };
    let Some(registry) = RealRegistry::start(TEST, &options) else { return };
    let folder = files::scratch("images");
    let layers = write_image(&folder.path().join("layout"), &fs::read(busybox).unwrap());
    push(&folder.path().join("layout"), &registry, "team/app:1", "v2s2");
    let recipe = folder.path().join("recipe");
    write_recipe(&recipe, &format!("docker://{}/team/app:1", registry.host()));
    let spore = Spore::new().without_logins();
    seed_cache(spore.root());
    // A registry with passwords.
    let stranger = spore.run(["bake", recipe.to_str().unwrap()]);
    stranger.exits_with(1).says(&["docker://", "permission denied", "log in"]);
    let login = spore.command(["login", "--username", USER, "--password-stdin", &registry.host()]);
    login.stdin(PASSWORD).finish().succeeds();
    let baked = spore.bake(&recipe);
    the_guest_is_as_the_image_says(&spore);
    let base = it_is_said_where_it_comes_from(&spore, &baked, &registry);
    what_a_rebuilt_image_shares_is_not_fetched(&spore, folder.path(), &registry, layers, &base);
    layers_are_fetched_once(&spore, &recipe, &registry, &base);
}

/// Three layers that have and hide what layers can.
fn write_image(layout: &Path, busybox: &[u8]) -> Vec<Vec<u8>> {
    let names = ["sh", "cat", "stat", "readlink", "ls", "id", "chroot", "sleep", "touch", "sync", "env"];
    let lower = Layer::new().folder("bin", 0o755, 0).file("bin/busybox", busybox, 0o755, 0);
    let lower = names
        .iter()
        .fold(lower, |layer, name| layer.link(EntryType::Symlink, &format!("bin/{name}"), "busybox"))
        .link(EntryType::Link, "bin/again", "bin/busybox")
        .file("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n", 0o644, 0)
        .file("etc/group", b"root:x:0:\nstaff:x:50:\nvideo:x:44:app\n", 0o644, 0)
        .folder("srv", 0o750, 1000)
        .folder("tmp", 0o1777, 0)
        .folder("proc", 0o755, 0)
        .folder("run", 0o755, 0)
        .file("opt/old/a", b"x", 0o644, 0)
        .file("opt/gone", b"x", 0o644, 0)
        .file("srv/set-id", b"x", 0o6755, 1000);
    let many = (0..700).fold(Layer::new().folder("many", 0o755, 0), |layer, number| {
        let name = format!("many/{number}-{}", "n".repeat(number % 100));
        layer.file(&name, format!("{number}\n").as_bytes(), 0o644, 0)
    });
    let many = many.link(EntryType::Symlink, "far", &"d/".repeat(2000));
    let upper = Layer::new()
        .file("opt/.wh.gone", b"", 0o644, 0)
        .file("opt/old/.wh..wh..opq", b"", 0o644, 0)
        .file("opt/old/b", b"new\n", 0o644, 0)
        .attribute("security.capability", MAY_CHROOT)
        .file("srv/chroot", busybox, 0o755, 0);
    let process = json!({
        "User": "app:staff", "WorkingDir": "/srv", "Env": ["PATH=/bin", "COLOUR=green", "SHAPE=round"],
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id -u > /tmp/warm; pwd >> /tmp/warm; exec sleep 100000"],
    });
    let layers = [lower, many, upper].map(Layer::build).to_vec();
    write_layout(layout, &layers, &process);
    layers
}

fn write_recipe(folder: &Path, image: &str) {
    fs::create_dir(folder).unwrap();
    let text = format!(
        "name = \"app\"\nversion = \"1\"\n[base]\nimage = \"{image}\"\n\
         [build]\ncommands = [\"id -u > /built\"]\n\
         [environment]\nSHAPE = \"square\"\n\
         [machine]\nmemory = \"128MiB\"\ndisk = \"64MiB\"\n\
         [warm.ready]\ncommand = [\"/bin/sh\", \"-c\", \"test -s /tmp/warm\"]\n"
    );
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

fn the_guest_is_as_the_image_says(spore: &Spore) {
    let id = &spore.fork("app", 1)[0];
    let asked = |script: &str, answer: &str| assert_eq!(spore.sh(id, script), answer, "{script}");
    asked("id -u; id -G; pwd; echo $COLOUR $SHAPE", "1000\n50\n/srv\ngreen square");
    asked("cat /tmp/warm", "1000\n/srv");
    asked("cat /built", "0");
    asked("stat -c '%h %Y' /bin/again", &format!("2 {FILE_TIME}"));
    asked("stat -c '%a %u %g' /srv/set-id /srv /tmp", "6755 1000 1000\n750 1000 1000\n1777 0 0");
    asked("ls /opt; ls /opt/old; cat /opt/old/b", "old\nb\nnew");
    // By the capability of the file alone.
    asked("/srv/chroot / /bin/id -u", "1000");
    assert!(!spore.run(["exec", id, "--", "/bin/chroot", "/", "/bin/id"]).status.success());
    asked("readlink /far", "d/".repeat(2000).as_str());
    asked("ls /many | /bin/busybox wc -l; cat /many/42-* /many/699-*", "700\n42\n699");
    asked(
        "/bin/busybox find / -xdev -type f -exec /bin/busybox cat {} + 2>/dev/null | /bin/busybox wc -c >&2",
        "",
    );
    spore.run(["exec", id, "--user", "0", "--", "/bin/touch", "/many/42-x"]).succeeds();
    // Copies, too, are the image's user's, unless somebody else is asked for.
    let here = files::scratch("copy");
    fs::write(here.path().join("a"), "x").unwrap();
    let (from, to) = (here.path().join("a"), format!("{id}:/srv/theirs"));
    spore.run(["cp", from.to_str().unwrap(), &to]).succeeds();
    spore
        .run(["cp", from.to_str().unwrap(), &format!("{id}:/many/a")])
        .exits_with(1)
        .says(&["Permission denied"]);
    spore.run(["cp", "--user", "0", from.to_str().unwrap(), &format!("{id}:/many/a")]).succeeds();
    asked("stat -c '%u %g' /srv/theirs /many/a", "1000 50\n0 0");
    spore.run(["kill", id]).succeeds();
}

fn it_is_said_where_it_comes_from(spore: &Spore, baked: &Digest, registry: &RealRegistry) -> BaseOrigin {
    let base = Frozen::open(spore.root(), baked).config.provenance.base.unwrap();
    assert_eq!(base.reference, format!("docker://{}/team/app:1", registry.host()));
    // skopeo has written other documents than the layout had.
    assert!(registry.blob_path(&base.manifest.unwrap()).exists());
    assert!(registry.blob_path(&base.config).exists());
    base
}

fn what_a_rebuilt_image_shares_is_not_fetched(
    spore: &Spore,
    folder: &Path,
    registry: &RealRegistry,
    mut layers: Vec<Vec<u8>>,
    base: &BaseOrigin,
) {
    layers.push(Layer::new().file("opt/rebuilt", b"", 0o644, 0).build());
    let layout = folder.join("rebuilt-layout");
    write_layout(&layout, &layers, &json!({}));
    let before = registry.blobs();
    push(&layout, registry, "team/app:2", "v2s2");
    let documents = [base.manifest.unwrap(), base.config];
    for blob in before.into_iter().filter(|blob| !documents.contains(blob)) {
        fs::remove_file(registry.blob_path(&blob)).unwrap();
    }
    let recipe = folder.join("rebuilt");
    fs::create_dir(&recipe).unwrap();
    let text = format!(
        "name = \"rebuilt\"\nversion = \"1\"\n[base]\nimage = \"docker://{}/team/app:2\"\n\
         [machine]\nmemory = \"128MiB\"\ndisk = \"64MiB\"\n",
        registry.host()
    );
    fs::write(recipe.join("recipe.toml"), text).unwrap();
    let baked = Frozen::open(spore.root(), &spore.bake(&recipe)).config;
    assert_eq!(baked.layers().count(), 4);
}

/// Once they are layers, only the documents are asked for: the tag may lead elsewhere by then.
fn layers_are_fetched_once(spore: &Spore, recipe: &Path, registry: &RealRegistry, base: &BaseOrigin) {
    let documents = [base.manifest.unwrap(), base.config];
    for blob in registry.blobs().into_iter().filter(|blob| !documents.contains(blob)) {
        fs::remove_file(registry.blob_path(&blob)).unwrap();
    }
    let again = Frozen::open(spore.root(), &spore.bake(recipe)).config;
    assert_eq!((again.layers().count(), again.provenance.base.as_ref()), (3, Some(base)));
    // Without the cache they are missed, by digest.
    let refreshed = spore.run(["bake", recipe.to_str().unwrap(), "--refresh"]);
    refreshed.exits_with(3).says(&["docker://", "has no sha256:"]);
}
