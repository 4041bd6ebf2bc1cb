//! A store with a sample, a hub in a folder, and a second store to pull to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{Digest, FullName, Name, Tag};
use hub::testing::{Sample, SampleSpec, put_sample};
use hub::{HubLocation, PullError, Pulled, Registry, Selector, TagAs};
use store::Store;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) temp: Arc<TempDir>,
    pub(crate) source: Store,
    pub(crate) target: Store,
    pub(crate) sample: Arc<Sample>,
    hub_path: PathBuf,
}

impl World {
    /// The sample is in `source`; hub and `target` are empty.
    pub(crate) fn new(spec: &SampleSpec<'_>) -> Self {
        let temp = Arc::new(tempfile::tempdir().unwrap());
        let source = Store::open(&temp.path().join("source")).unwrap();
        let target = Store::open(&temp.path().join("target")).unwrap();
        let sample = Arc::new(put_sample(&source, spec).unwrap());
        let hub_path = temp.path().join("hub");
        Self { temp, source, target, sample, hub_path }
    }

    /// The same sample in the same store and the same hub; `target` is empty.
    pub(crate) fn with_new_target(&self) -> Self {
        let folder = tempfile::tempdir_in(self.temp.path()).unwrap().keep();
        Self {
            temp: Arc::clone(&self.temp),
            source: self.source.clone(),
            target: Store::open(&folder).unwrap(),
            sample: Arc::clone(&self.sample),
            hub_path: self.hub_path.clone(),
        }
    }

    /// The same sample in the same store; hub and `target` are empty.
    pub(crate) fn with_new_hub(&self) -> Self {
        let hub_path = tempfile::tempdir_in(self.temp.path()).unwrap().keep();
        Self { hub_path, ..self.with_new_target() }
    }

    /// The sample is in the hub, too.
    pub(crate) async fn pushed(spec: &SampleSpec<'_>) -> Self {
        let world = Self::new(spec);
        world.push().await.unwrap();
        world
    }

    pub(crate) fn hub_path(&self) -> PathBuf {
        self.hub_path.clone()
    }

    pub(crate) fn hub(&self) -> Arc<dyn Registry> {
        hub::open(&HubLocation::folder(&self.hub_path()).unwrap(), &hub::testing::no_access()).unwrap()
    }

    pub(crate) fn hub_blob(&self, digest: &Digest) -> PathBuf {
        self.hub_path().join("blobs/sha256").join(digest.hex())
    }

    pub(crate) async fn push(&self) -> Result<(), hub::PushError> {
        self.push_to(self.hub()).await
    }

    pub(crate) async fn push_to(&self, hub: Arc<dyn Registry>) -> Result<(), hub::PushError> {
        let plan = hub::plan_push(&self.source, &self.sample.digest, hub, &name()).await?;
        plan.execute(Some(&tag()), Arc::new(())).await.map(drop)
    }

    pub(crate) async fn pull(&self) -> Result<Pulled, PullError> {
        self.pull_from(self.hub()).await
    }

    pub(crate) async fn pull_from(&self, registry: Arc<dyn Registry>) -> Result<Pulled, PullError> {
        pull(&self.target, registry, &Selector::Tag(tag())).await
    }

    pub(crate) fn digest_of(&self, role: &str) -> Digest {
        let snapshot = self.source.load_snapshot(&self.sample.digest).unwrap();
        let parts = format::snapshot::closure(&snapshot.config, &snapshot.maps);
        parts.iter().find(|part| part.role.contains(role)).unwrap().digest
    }
}

pub(crate) async fn pull(
    store: &Store,
    registry: Arc<dyn Registry>,
    which: &Selector,
) -> Result<Pulled, PullError> {
    let plan = hub::plan_pull(store, registry, &name(), which).await?;
    plan.execute(Some(&TagAs { name: full_name(), may_move: true }), Arc::new(())).await
}

pub(crate) fn name() -> Name {
    "team/sample".parse().unwrap()
}

pub(crate) fn tag() -> Tag {
    "1.0".parse().unwrap()
}

pub(crate) fn full_name() -> FullName {
    "hub.example/team/sample:1.0".parse().unwrap()
}

/// What is in a folder, in order; a folder that is not there is empty.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn blobs_in(root: &Path) -> Vec<String> {
    names_in(&root.join("blobs/sha256"))
}

/// Every blob that can be seen is what its name says.
pub(crate) fn assert_blobs_are_whole(root: &Path) {
    for hex in blobs_in(root) {
        let bytes = fs::read(root.join("blobs/sha256").join(&hex)).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), hex);
    }
}

/// Moves the tag between a pull's plan and its execution, and asserts that what was planned comes. Gives what the tag leads to then.
pub(crate) async fn assert_a_moved_tag_changes_nothing(
    world: &World,
    read: Arc<dyn Registry>,
    written: Arc<dyn Registry>,
) -> Digest {
    let plan = hub::plan_pull(&world.target, read, &name(), &Selector::Tag(tag())).await.unwrap();
    let newer = put_sample(&world.source, &SampleSpec { seed: "newer", ..SampleSpec::default() }).unwrap();
    let push = hub::plan_push(&world.source, &newer.digest, written, &name()).await.unwrap();
    push.execute(Some(&tag()), Arc::new(())).await.unwrap();
    let as_named = TagAs { name: full_name(), may_move: true };
    let pulled = plan.execute(Some(&as_named), Arc::new(())).await.unwrap();
    assert_eq!(pulled.snapshot, world.sample.digest);
    assert_pulled(world);
    newer.digest
}

/// Neither a tag nor a manifest.
pub(crate) fn assert_nothing_pulled(world: &World) {
    assert_eq!(world.target.refs().unwrap().len(), 0);
    assert!(!blobs_in(world.target.root()).contains(&world.sample.digest.hex()));
    assert_blobs_are_whole(world.target.root());
}

/// Neither a tag nor a manifest.
pub(crate) fn assert_nothing_pushed(world: &World) {
    assert_eq!(names_in(&world.hub_path().join("v2/team/sample/manifests")), [""; 0]);
    assert!(!world.hub_blob(&world.sample.digest).exists());
    assert_blobs_are_whole(&world.hub_path());
}

/// The target has the sample, byte for byte, and its tag.
pub(crate) fn assert_pulled(world: &World) {
    let (source, target) = (&world.source, &world.target);
    target.load_snapshot(&world.sample.digest).unwrap();
    assert_eq!(target.get_ref(&full_name()).unwrap().unwrap().digest, world.sample.digest);
    for blob in world.sample.manifest.blobs() {
        let read = |store: &Store| store.read_blob(&blob.digest, 64 << 20).unwrap();
        assert_eq!(read(source), read(target));
    }
}

/// Writes to a file that is read-only, as blobs are.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}
