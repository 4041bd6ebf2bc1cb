//! What a folder looks like from outside, and what it refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use format::manifest::media_type;
use tempfile::TempDir;

use super::*;
use crate::testing::MemorySource;

struct Folder {
    temp: TempDir,
    hub: DirHub,
}

impl Folder {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let hub = DirHub::new(temp.path().join("hub"), "here".into());
        Self { temp, hub }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join("hub").join(below)
    }

    async fn put_blob(&self, bytes: &[u8]) -> Result<Digest, HubError> {
        let (digest, source) = (Digest::of(bytes), MemorySource { bytes: bytes.to_vec(), fails: false });
        let blob = Upload { digest, size: bytes.len() as u64, source: &source, mount_from: &[] };
        self.hub.put_blob(&name("any"), &blob).await.map(|_| digest)
    }

    async fn put_manifest(&self, name_: &str, tag: &str) -> Result<Digest, HubError> {
        let manifest = manifest(&format!("{name_}:{tag}"));
        self.hub.put_manifest(&name(name_), &manifest).await?;
        self.hub.put_tag(&name(name_), &tag.parse().unwrap(), &manifest).await?;
        Ok(manifest.digest())
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn manifest(title: &str) -> RawManifest {
    let json = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": media_type::SNAPSHOT,
        "annotations": { "title": title },
    });
    RawManifest::new(json.to_string().into_bytes()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn it_is_an_oci_layout_that_others_can_read() {
    let folder = Folder::new();
    let digest = folder.put_manifest("team/numpy", "1.0").await.unwrap();
    folder.put_manifest("other", "latest").await.unwrap();
    assert_eq!(fs::read(folder.path("oci-layout")).unwrap(), br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path("index.json")).unwrap()).unwrap();
    let entry = &index["manifests"][1];
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "team/numpy:1.0");
    assert_eq!(entry["digest"], digest.to_string());
    assert_eq!(entry["artifactType"], media_type::SNAPSHOT);
    let bytes = fs::read(folder.path("blobs/sha256").join(digest.hex())).unwrap();
    assert_eq!(entry["size"], bytes.len());
    for tag_or_digest in ["1.0", &digest.to_string()] {
        let path = folder.path("v2/team/numpy/manifests").join(tag_or_digest);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(mode(&path) & 0o111, 0);
    }
}

#[tokio::test]
async fn the_umask_decides_who_may_read() {
    let folder = Folder::new();
    let digest = folder.put_blob(b"blob").await.unwrap();
    folder.put_manifest("numpy", "latest").await.unwrap();
    // The umask of a process can't be asked for without changing it: what a plain file and folder get shows it.
    let (plain_file, plain_folder) = (folder.temp.path().join("file"), folder.temp.path().join("folder"));
    fs::write(&plain_file, "").unwrap();
    fs::create_dir(&plain_folder).unwrap();
    for file in
        ["oci-layout", "index.json", "v2/numpy/manifests/latest", &format!("blobs/sha256/{}", digest.hex())]
    {
        assert_eq!(mode(&folder.path(file)), mode(&plain_file), "{file}");
    }
    for below in ["", "blobs", "blobs/sha256", "v2", "v2/numpy", "v2/numpy/manifests", "tmp"] {
        assert_eq!(mode(&folder.path(below)), mode(&plain_folder), "{below}");
    }
}

#[tokio::test]
async fn nothing_is_written_through_symbolic_links() {
    for link in ["v2", "v2/numpy", "v2/numpy/manifests", "blobs", "blobs/sha256", "tmp"] {
        let folder = Folder::new();
        let outside = folder.temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir_all(folder.path(link).parent().unwrap()).unwrap();
        symlink(&outside, folder.path(link)).unwrap();
        let (blob, manifest) = (folder.put_blob(b"x").await, folder.put_manifest("numpy", "latest").await);
        let error = manifest.unwrap_err().to_string();
        assert!(error.contains("through a symbolic link"), "{link}: {error}");
        assert!(link.starts_with("v2/") || blob.is_err(), "{link}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{link}");
    }
}

#[tokio::test]
async fn a_link_in_place_of_a_file_is_replaced_and_not_followed() {
    let folder = Folder::new();
    folder.put_manifest("numpy", "latest").await.unwrap();
    let (tag, outside) = (folder.path("v2/numpy/manifests/latest"), folder.temp.path().join("outside"));
    fs::write(&outside, "precious").unwrap();
    fs::remove_file(&tag).unwrap();
    symlink(&outside, &tag).unwrap();
    folder.put_manifest("numpy", "latest").await.unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert!(!fs::symlink_metadata(&tag).unwrap().is_symlink());
}

/// What each method that reads says of a folder; all say the same.
async fn reading(hub: &DirHub) -> HubError {
    let (name, digest) = (name("numpy"), Digest::of(b"x"));
    let errors = [
        hub.get_manifest(&name, &Selector::Tag("latest".parse().unwrap())).await.map(drop).unwrap_err(),
        hub.get_manifest(&name, &Selector::Digest(digest)).await.map(drop).unwrap_err(),
        hub.blob_size(&name, &digest).await.map(drop).unwrap_err(),
        hub.get_blob(&name, &digest, 0..1).await.map(drop).unwrap_err(),
        hub.tags(&name).await.map(drop).unwrap_err(),
        hub.names().await.map(drop).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.to_string() == errors[0].to_string()), "{errors:?}");
    let [first, ..] = errors;
    first
}

#[tokio::test]
async fn a_folder_that_is_no_hub_yet_is_not_read_and_can_be_written() {
    let cases = [
        (None, "hub here: no such folder; give a folder that `spore push --hub` wrote"),
        (Some(""), "hub here: it is not a hub: it has no oci-layout; give"),
        // A hub that is being made.
        (Some("blobs/sha256"), "it has no oci-layout; give"),
    ];
    for (made, expected) in cases {
        let folder = Folder::new();
        if let Some(below) = made {
            fs::create_dir_all(folder.path(below)).unwrap();
        }
        let error = reading(&folder.hub).await;
        assert!(matches!(error, HubError::NotAHub { push_makes_one: true, .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        let digest = folder.put_blob(b"x").await.unwrap();
        assert_eq!(folder.hub.blob_size(&name("numpy"), &digest).await.unwrap(), Some(1));
        assert_eq!(folder.hub.names().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_folder_of_something_else_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path("")).unwrap();
    fs::write(folder.path("thesis.txt"), "").unwrap();
    for error in [
        folder.put_blob(b"x").await.unwrap_err(),
        folder.put_manifest("numpy", "latest").await.unwrap_err(),
        reading(&folder.hub).await,
    ] {
        assert!(matches!(error, HubError::NotAHub { push_makes_one: false, .. }), "{error}");
        assert!(error.to_string().contains("\"thesis.txt\" and no oci-layout"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1);
    let file = DirHub::new(folder.path("thesis.txt"), "here".into());
    let error = reading(&file).await;
    assert!(matches!(error, HubError::NotAHub { push_makes_one: false, .. }), "{error}");
    file.put_manifest(&name("numpy"), &manifest("x")).await.unwrap_err();
    fs::remove_file(folder.path("thesis.txt")).unwrap();
    folder.put_blob(b"x").await.unwrap();
    fs::write(folder.path("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    let error = DirHub::new(folder.path(""), "here".into()).names().await.unwrap_err();
    assert!(matches!(&error, HubError::Malformed { what, .. } if what.ends_with("oci-layout")), "{error}");
}

#[tokio::test]
async fn old_leftovers_are_swept_by_the_next_push() {
    let folder = Folder::new();
    folder.put_blob(b"first").await.unwrap();
    let old = std::time::SystemTime::now() - Duration::from_hours(25);
    for (file, modified) in [("tmp/old", Some(old)), ("tmp/new", None)] {
        let file = fs::File::create(folder.path(file)).unwrap();
        if let Some(time) = modified {
            file.set_modified(time).unwrap();
        }
    }
    let next = DirHub::new(folder.path(""), "here".into());
    next.put_manifest(&name("numpy"), &manifest("x")).await.unwrap();
    let left: Vec<_> =
        fs::read_dir(folder.path("tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn a_manifest_under_the_wrong_digest_is_refused() {
    let folder = Folder::new();
    let digest = folder.put_manifest("numpy", "latest").await.unwrap();
    let other = folder.put_manifest("numpy", "other").await.unwrap();
    let manifests = folder.path("v2/numpy/manifests");
    fs::copy(manifests.join("other"), manifests.join(digest.to_string())).unwrap();
    let error = folder.hub.get_manifest(&name("numpy"), &Selector::Digest(digest)).await.unwrap_err();
    assert!(matches!(&error, HubError::Corrupt { digest: of, .. } if *of == digest), "{error}");
    assert!(error.to_string().contains(&other.to_string()), "{error}");
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let folder = Folder::new();
    let path = folder.path("v2/numpy/manifests/large");
    folder.put_manifest("numpy", "latest").await.unwrap();
    fs::File::create(&path).unwrap().set_len(limits::MANIFEST_BYTES as u64 + 1).unwrap();
    let large = Selector::Tag("large".parse().unwrap());
    let error = folder.hub.get_manifest(&name("numpy"), &large).await.unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let error = folder.hub.get_manifest(&name("numpy"), &large).await.unwrap_err();
    assert!(error.to_string().contains("expected a regular file"), "{error}");
    // It does not keep others from pushing.
    folder.put_manifest("numpy", "next").await.unwrap();
    let foreign = RawManifest::new(b"{}".to_vec()).unwrap();
    assert!(folder.hub.put_manifest(&name("numpy"), &foreign).await.is_err());
}

#[tokio::test]
async fn a_name_that_would_lie_among_the_tags_of_another_is_refused() {
    let folder = Folder::new();
    for wrong in ["a/manifests", "manifests", "a/manifests/b"] {
        let error = folder.put_manifest(wrong, "latest").await.unwrap_err().to_string();
        assert!(error.contains("the component \"manifests\""), "{error}");
        folder.hub.check_writable(&name(wrong)).await.unwrap_err();
    }
    folder.put_manifest("a", "manifests").await.unwrap();
    assert_eq!(folder.hub.names().await.unwrap(), [name("a")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_pushed_at_once_are_all_in_the_index() {
    let folder = Folder::new();
    let tags: Vec<_> = (0..8).map(|n| format!("t{n}")).collect();
    let puts = tags.iter().map(|tag| {
        // Each its own process, as far as a hub can tell.
        let hub = DirHub::new(folder.path(""), "here".into());
        let tag: Tag = tag.parse().unwrap();
        tokio::spawn(async move { hub.put_tag(&name("numpy"), &tag, &manifest(tag.as_str())).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    let index = fs::read_to_string(folder.path("index.json")).unwrap();
    for tag in &tags {
        assert!(index.contains(&format!("numpy:{tag}\"")), "{tag}: {index}");
    }
    assert_eq!(fs::read_dir(folder.path("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn pages_are_written_whole_into_hubs_only() {
    let folder = Folder::new();
    let site = folder.hub.site().unwrap();
    for page in [Page::Catalog, Page::Html] {
        let error = site.put_page(page, b"page".to_vec()).await.unwrap_err();
        assert!(matches!(error, HubError::NotAHub { .. }), "{error}");
    }
    assert!(matches!(site.refresh_index().await, Err(HubError::NotAHub { .. })));
    assert!(!folder.path("").exists(), "a page makes no hub");

    folder.put_manifest("a", "1").await.unwrap();
    for bytes in ["long", "s"] {
        site.put_page(Page::Html, bytes.into()).await.unwrap();
        site.put_page(Page::Catalog, bytes.into()).await.unwrap();
        for file in ["index.html", "catalog.json"] {
            assert_eq!(fs::read_to_string(folder.path(file)).unwrap(), bytes);
            assert_eq!(mode(&folder.path(file)) & 0o111, 0);
        }
    }
    assert_eq!(fs::read_dir(folder.path("tmp")).unwrap().count(), 0);
    // A tag that somebody removed is in the index until it is derived again.
    fs::remove_file(folder.path("v2/a/manifests/1")).unwrap();
    let listed = || fs::read_to_string(folder.path("index.json")).unwrap().contains("a:1");
    assert!(listed());
    site.refresh_index().await.unwrap();
    assert!(!listed());
}
