//! A hub in a folder, read: what is listed is what a pull gets, and what is broken hides nothing else.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use catalog::{Catalog, CatalogError, Heading, html, read};
use format::manifest::{annotation, media_type};
use format::{Digest, Name, Tag};
use hub::testing::{SampleSpec, no_access, publish};
use hub::{HubError, HubLocation, RawManifest, Registry};
use tempfile::TempDir;

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn hub(&self) -> Arc<dyn Registry> {
        hub::open(&HubLocation::folder(&self.path()).unwrap(), &no_access()).unwrap()
    }

    /// A sample whose memory is `seed`'s; layers, kernel and initrd are the same in all.
    async fn publish(&self, name_: &str, tag_: &str, seed: &str, parent: Option<Digest>) -> Digest {
        let spec = SampleSpec { seed, ..SampleSpec::default() };
        let (name, tag) = (name(name_), tag(tag_));
        let published = publish(self.hub(), &name, &tag, &spec, |config, annotations| {
            config.lineage.parent = parent;
            config.provenance.created_at = "2026-02-03T04:05:06Z".to_owned();
            annotations.insert(annotation::LICENSES.to_owned(), "Apache-2.0".to_owned());
        });
        published.await.unwrap()
    }

    async fn catalog(&self) -> Catalog {
        let heading = Heading::at_url("Samples", "https://hub.example").unwrap();
        read(self.hub(), &()).await.unwrap().finish(&heading)
    }

    fn manifests(&self, name: &str) -> PathBuf {
        self.path().join("v2").join(name).join("manifests")
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

#[tokio::test]
async fn snapshots_are_listed_with_what_they_take_and_share() {
    let world = World::new();
    let parent = world.publish("team/parent", "1", "parent", None).await;
    let child = world.publish("child", "2.0", "child", Some(parent)).await;
    let orphan = world.publish("orphan", "1", "orphan", Some(Digest::of(b"elsewhere"))).await;
    // A second tag of the same snapshot, and the same snapshot under another name.
    let raw = world.hub().get_manifest(&name("child"), &hub::Selector::Digest(child)).await.unwrap().unwrap();
    for (name_, tag_) in [("child", "latest"), ("other", "x")] {
        world.hub().put_manifest(&name(name_), &raw).await.unwrap();
        world.hub().put_tag(&name(name_), &tag(tag_), &raw).await.unwrap();
    }
    let catalog = world.catalog().await;
    assert_eq!(catalog.problems().count(), 0);
    let names: Vec<_> = catalog.names.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["child", "orphan", "other", "team/parent"]);
    let tags = &catalog.names[0].tags;
    assert_eq!(tags.iter().map(|entry| entry.tag.as_str()).collect::<Vec<_>>(), ["2.0", "latest"]);
    assert_eq!(tags[0].digest, Some(child));
    assert_eq!(tags[0].pull.as_deref(), Some("spore pull --hub https://hub.example child:2.0"));
    let pinned = format!("spore pull --hub https://hub.example child:2.0@{child}");
    assert_eq!((tags[0].snapshots.len(), &tags[0].snapshots[0].pull), (1, &pinned));

    assert_eq!(catalog.snapshots.len(), 3);
    for digest in [parent, child, orphan] {
        let snapshot = catalog.snapshot(&digest).unwrap();
        let sizes = snapshot.sizes;
        assert_eq!(sizes.own + sizes.shared, sizes.total);
        assert_eq!(sizes.memory + sizes.disks + sizes.other, sizes.total);
        // Memory, disk and state are its own; layers, kernel and initrd are everybody's.
        assert!(sizes.own > 3 * 4096 && sizes.shared > 4 * 4096, "{sizes:?}");
        let others: Vec<_> = snapshot.shared_with.iter().map(|shared| shared.digest).collect();
        assert_eq!(others.len(), 2, "{others:?}");
        assert!(!others.contains(&digest));
        assert!(snapshot.shared_with.iter().all(|shared| shared.bytes == sizes.shared));
    }
    let all: u64 = catalog.snapshots.iter().map(|snapshot| snapshot.sizes.own).sum();
    assert_eq!(catalog.bytes, all + catalog.snapshots[0].sizes.shared);
    let lineage = |digest| {
        let parent = catalog.snapshot(&digest).unwrap().parent.clone();
        parent.map(|parent| (parent.digest, parent.name))
    };
    assert_eq!(lineage(child), Some((parent, Some("team/parent:1".to_owned()))));
    assert_eq!(lineage(orphan), Some((Digest::of(b"elsewhere"), None)));
    assert_eq!(lineage(parent), None);
    let child = catalog.snapshot(&child).unwrap();
    assert_eq!(child.created.as_deref(), Some("2026-02-03T04:05:06Z"));
    assert_eq!(child.licences.to_string(), "Apache-2.0; 1 package: 1 permissive");
    assert_eq!(child.packages[0].name.as_str(), "a");
}

#[tokio::test]
async fn the_same_hub_gives_the_same_bytes() {
    let world = World::new();
    for n in 0..6 {
        world.publish(&format!("name{}", n % 3), &n.to_string(), &n.to_string(), None).await;
    }
    let (first, second) = (world.catalog().await, world.catalog().await);
    assert_eq!(first.to_json().unwrap(), second.to_json().unwrap());
    assert_eq!(html(&first).unwrap(), html(&second).unwrap());
}

#[tokio::test]
async fn what_is_broken_is_named_and_hides_nothing_else() {
    let world = World::new();
    let good = world.publish("good", "1", "good", None).await;
    let missing = world.publish("missing", "1", "missing", None).await;
    world.publish("garbage", "1", "garbage", None).await;
    world.publish("config", "1", "config", None).await;
    let manifest = |name_: &str| {
        let bytes = fs::read(world.manifests(name_).join("1")).unwrap();
        format::Manifest::parse(&bytes).unwrap()
    };
    let blob = |digest: &Digest| world.path().join("blobs/sha256").join(digest.hex());
    // Memory frames that are its own; a tag that is no manifest; a config that is not what its digest says.
    let own =
        manifest("missing").layers.iter().find(|own| manifest("good").find(&own.digest).is_none()).cloned();
    fs::remove_file(blob(&own.unwrap().digest)).unwrap();
    fs::write(world.manifests("garbage").join("1"), "<script>alert(1)</script>").unwrap();
    let config = blob(&manifest("config").config.digest);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("6.1.0", "6.1.9")).unwrap();
    fs::create_dir_all(world.manifests("container")).unwrap();
    let image = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": good, "size": 2},
    });
    let image = RawManifest::new(image.to_string().into_bytes()).unwrap();
    world.hub().put_manifest(&name("container"), &image).await.unwrap();
    world.hub().put_tag(&name("container"), &tag("1"), &image).await.unwrap();

    let catalog = world.catalog().await;
    assert_eq!(catalog.snapshots.iter().map(|snapshot| snapshot.digest).collect::<Vec<_>>(), [good]);
    assert_eq!(catalog.snapshots[0].sizes.shared, 0, "what cannot be pulled shares nothing");
    let problems: Vec<_> = catalog.problems().collect();
    for (problem, (start, reason)) in problems.iter().zip([
        ("config:1: ", "corrupt"),
        ("container:1: ", "not that of a Spore snapshot"),
        ("garbage:1: ", "manifest is not valid"),
        ("missing:1: ", "missing: "),
    ]) {
        assert!(problem.starts_with(start) && problem.contains(reason), "{problem}");
    }
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[3].contains(&missing.to_string()));
    let page = html(&catalog).unwrap();
    for name in ["config:1", "container:1", "garbage:1", "missing:1"] {
        assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        assert!(!page.contains(&format!("hub.example {name}")), "{name} has no command");
    }
    assert!(page.contains("spore pull --hub https://hub.example good:1<"));
}

#[tokio::test]
async fn variants_stand_under_their_tag() {
    let world = World::new();
    let (one, two) =
        (world.publish("v", "one", "one", None).await, world.publish("v", "two", "two", None).await);
    let gone = Digest::of(b"gone");
    let entries = [one, two, gone]
        .map(|digest| serde_json::json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": 1}));
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    let index = RawManifest::new(index.to_string().into_bytes()).unwrap();
    world.hub().put_tag(&name("v"), &tag("both"), &index).await.unwrap();
    let catalog = world.catalog().await;
    let both = &catalog.names[0].tags[0];
    assert_eq!((both.tag.as_str(), both.digest, &both.pull), ("both", Some(index.digest()), &None));
    assert_eq!(both.snapshots.iter().map(|target| target.digest).collect::<Vec<_>>(), [one, two]);
    assert!(both.snapshots.iter().all(|target| target.pull.ends_with(&format!("v:both@{}", target.digest))));
    assert_eq!(both.problems.len(), 1);
    assert!(both.problems[0].as_str().contains(&gone.to_string()), "{}", both.problems[0]);
}

#[tokio::test]
async fn where_there_is_no_hub_there_is_no_catalogue() {
    let world = World::new();
    let error = read(world.hub(), &()).await.unwrap_err();
    assert!(matches!(error, CatalogError::Hub(HubError::NotAHub { .. })), "{error}");
}
