//! What every [`Registry`] must do, as code. A backend's tests run it against the real thing.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use format::manifest::media_type;
use format::{Digest, Name, Tag};
use futures_util::future;
use tokio::io::AsyncReadExt;

use crate::testing::MemorySource;
use crate::{HubError, RawManifest, Registry, Selector, Upload};

mod referrers;

/// What was run, and on what.
#[derive(Debug)]
pub struct Report {
    /// The location of the hub that it ran on.
    pub hub: String,
    /// The program that it ran on, with its version.
    pub server: String,
    /// The cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that hubs of this kind do not offer.
    pub unsupported: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "conformance of hub {} on {}: {} cases passed",
            self.hub,
            self.server,
            self.passed.len()
        )?;
        self.unsupported.iter().try_for_each(|case| write!(out, "\nskipped: {case}: unsupported"))
    }
}

/// A case that did not pass.
#[derive(Debug, thiserror::Error)]
#[error("{case}: {reason}")]
pub struct Failure {
    /// The case.
    pub case: &'static str,
    /// What was found.
    pub reason: Box<dyn Error + Send + Sync>,
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A hub as the cases see it: what puts, and what reads.
struct Hub {
    writer: Arc<dyn Registry>,
    reader: Arc<dyn Registry>,
}

/// Runs all cases. `scope` is a name that nothing in the hub has yet; all names that are used begin with it. The hub
/// need not be there if putting a blob makes it. `server` is the real program behind it, for the report.
///
/// # Errors
/// The first case that does not pass.
pub async fn run(hub: Arc<dyn Registry>, scope: &Name, server: &str) -> Result<Report, Failure> {
    run_through(Arc::clone(&hub), hub, scope, server).await
}

/// As [`run`], of a hub that can only be read: what is to be read is put through `writer`, another way into the same
/// place.
///
/// # Errors
/// The first case that does not pass.
pub async fn run_through(
    writer: Arc<dyn Registry>,
    reader: Arc<dyn Registry>,
    scope: &Name,
    server: &str,
) -> Result<Report, Failure> {
    let mut report = Report {
        hub: reader.location().to_owned(),
        server: server.to_owned(),
        passed: Vec::new(),
        unsupported: Vec::new(),
    };
    let hub = Hub { writer, reader };
    let name = |last: &str| {
        let parsed = format!("{scope}/{last}").parse::<Name>();
        parsed.map_err(|error| Failure { case: "the scope is a name", reason: error.into() })
    };
    report.add("blobs come back as they went", blobs(&hub, &name("blobs")?).await)?;
    report.add("what is absent is none", absent(&hub, &name("absent")?).await)?;
    report.add("parts of blobs can be read", ranges(&hub, &name("ranges")?).await)?;
    report.add("a blob that is there is there", again(&hub, &name("again")?).await)?;
    report.add("wrong blobs are refused", wrong_blobs(&hub, &name("wrong")?).await)?;
    report.add("a failing source leaves nothing", failing_source(&hub, &name("failing")?).await)?;
    report.add("a blob may be where it is guessed to be, or not", guessed(&hub, &name("guessed")?).await)?;
    report.add("equal blobs can be put at once", at_once(&hub, &name("at-once")?).await)?;
    report.add("manifests come back as they went", manifests(&hub, &name("manifests-of")?).await)?;
    report.add("a manifest needs no tag", untagged(&hub, &name("untagged")?).await)?;
    report.add("a tag moves", tag_moves(&hub, &name("moves")?).await)?;
    report.add("names have tags of their own", own_tags(&hub, &name("own")?).await)?;
    report.add("names are listed", listed(&hub, &name("listed")?).await)?;
    report.add("referrers are listed", referrers::listed(&hub, &name("referrers")?).await)?;
    Ok(report)
}

impl Report {
    fn add(&mut self, case: &'static str, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Ok(()) => self.passed.push(case),
            Err(reason) if matches!(reason.downcast_ref(), Some(HubError::Unsupported { .. })) => {
                self.unsupported.push(case);
            }
            Err(reason) => return Err(Failure { case, reason }),
        }
        Ok(())
    }
}

fn ensure(holds: bool, what: impl fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

fn expect<T: PartialEq + fmt::Debug>(found: &T, expected: &T, what: &str) -> Outcome {
    ensure(found == expected, format_args!("{what}: {found:?}: expected {expected:?}"))
}

/// Bytes that no other case has, of more than one piece of any transport.
fn content(name: &Name, length: usize) -> Vec<u8> {
    name.as_str()
        .bytes()
        .cycle()
        .zip(0_u32..)
        .map(|(byte, n)| byte ^ n.to_le_bytes()[1])
        .take(length)
        .collect()
}

async fn put(hub: &Hub, name: &Name, bytes: &[u8]) -> Result<Digest, HubError> {
    let digest = Digest::of(bytes);
    let source = MemorySource { bytes: bytes.to_vec(), fails: false };
    hub.writer.put_blob(name, &upload(digest, bytes.len(), &source)).await?;
    Ok(digest)
}

fn upload(digest: Digest, size: usize, source: &MemorySource) -> Upload<'_> {
    Upload { digest, size: size as u64, source, mount_from: &[] }
}

async fn get(
    hub: &Hub,
    name: &Name,
    digest: &Digest,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut reader =
        hub.reader.get_blob(name, digest, range).await?.ok_or("a blob that was put is not there")?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// A manifest whose only blob has been put.
async fn manifest(hub: &Hub, name: &Name, title: &str) -> Result<RawManifest, Box<dyn Error + Send + Sync>> {
    let config = title.as_bytes();
    let digest = put(hub, name, config).await?;
    raw(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": { "mediaType": "application/vnd.example", "digest": digest, "size": config.len() },
        "layers": [],
    }))
}

fn raw(json: &serde_json::Value) -> Result<RawManifest, Box<dyn Error + Send + Sync>> {
    Ok(RawManifest::new(serde_json::to_vec_pretty(json)?).ok_or("a manifest of a test is too large")?)
}

fn tag(text: &str) -> Result<Tag, format::ReferenceError> {
    text.parse()
}

async fn put_tagged(hub: &Hub, name: &Name, manifest: &RawManifest, tag: &Tag) -> Result<(), HubError> {
    hub.writer.put_manifest(name, manifest).await?;
    hub.writer.put_tag(name, tag, manifest).await
}

async fn absent(hub: &Hub, name: &Name) -> Outcome {
    let digest = Digest::of(b"nobody has put this");
    for which in [Selector::Tag(tag("latest")?), Selector::Digest(digest)] {
        expect(&hub.reader.get_manifest(name, &which).await?, &None, "manifest")?;
    }
    expect(&hub.reader.blob_size(name, &digest).await?, &None, "size of a blob")?;
    ensure(hub.reader.get_blob(name, &digest, 0..1).await?.is_none(), "a blob is there")?;
    expect(&hub.reader.tags(name).await?, &Vec::new(), "tags")
}

async fn blobs(hub: &Hub, name: &Name) -> Outcome {
    for length in [1, 4096, 5 << 20] {
        let bytes = content(name, length);
        let digest = put(hub, name, &bytes).await?;
        expect(&hub.reader.blob_size(name, &digest).await?, &Some(length as u64), "size")?;
        ensure(get(hub, name, &digest, 0..length as u64).await? == bytes, "a blob came back changed")?;
    }
    Ok(())
}

async fn ranges(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 3 << 20);
    let (digest, end) = (put(hub, name, &bytes).await?, bytes.len());
    for (from, to) in [(0, 1), (1, end), (end - 1, end), (1 << 20, 2 << 20), (end - 5, end + 5)] {
        let part = get(hub, name, &digest, from as u64..to as u64).await?;
        let expected = bytes.get(from..to.min(end)).unwrap_or_default();
        ensure(part == expected, format_args!("bytes {from}..{to} are not those of the blob"))?;
    }
    Ok(())
}

async fn again(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 10_000);
    let digest = put(hub, name, &bytes).await?;
    put(hub, name, &bytes).await?;
    ensure(get(hub, name, &digest, 0..10_000).await? == bytes, "a blob came back changed")
}

async fn wrong_blobs(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 2 << 20);
    let (digest, size) = (Digest::of(&bytes), bytes.len());
    let mut changed = bytes.clone();
    changed.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    let shorter = bytes.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default();
    let longer = [bytes.as_slice(), b"x"].concat();
    for (what, bytes) in
        [("changed", changed), ("shorter", shorter), ("longer", longer), ("empty", Vec::new())]
    {
        let source = MemorySource { bytes, fails: false };
        let put = hub.writer.put_blob(name, &upload(digest, size, &source)).await;
        ensure(matches!(put, Err(HubError::Corrupt { .. })), format_args!("{what}: {put:?}"))?;
        expect(&hub.reader.blob_size(name, &digest).await?, &None, what)?;
    }
    Ok(())
}

async fn failing_source(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 2 << 20);
    let digest = Digest::of(&bytes);
    let source = MemorySource { bytes: bytes.get(..1 << 20).unwrap_or_default().to_vec(), fails: true };
    let put_failing = hub.writer.put_blob(name, &upload(digest, bytes.len(), &source)).await;
    ensure(matches!(put_failing, Err(HubError::Source { .. })), format_args!("{put_failing:?}"))?;
    expect(&hub.reader.blob_size(name, &digest).await?, &None, "size")?;
    put(hub, name, &bytes).await?;
    Ok(())
}

async fn guessed(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 100_000);
    let (digest, source) = (Digest::of(&bytes), MemorySource { bytes: bytes.clone(), fails: false });
    let [right, wrong, to, also] =
        ["right", "wrong", "to", "also"].map(|last| format!("{name}/{last}").parse());
    let (right, wrong, to, also): (Name, Name, Name, Name) = (right?, wrong?, to?, also?);
    put(hub, &right, &bytes).await?;
    for (name, guess) in [(&to, &wrong), (&also, &right)] {
        let mount_from = std::slice::from_ref(guess);
        let upload = Upload { mount_from, ..upload(digest, bytes.len(), &source) };
        hub.writer.put_blob(name, &upload).await?;
        ensure(get(hub, name, &digest, 0..100_000).await? == bytes, "a blob came back changed")?;
    }
    Ok(())
}

async fn at_once(hub: &Hub, name: &Name) -> Outcome {
    let bytes = content(name, 3 << 20);
    let puts = future::join_all((0..4).map(|_| put(hub, name, &bytes))).await;
    for digest in puts {
        ensure(get(hub, name, &digest?, 0..3 << 20).await? == bytes, "a blob came back changed")?;
    }
    Ok(())
}

async fn manifests(hub: &Hub, name: &Name) -> Outcome {
    let manifest = manifest(hub, name, "one").await?;
    let index = raw(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::INDEX,
        "manifests": [{ "mediaType": media_type::MANIFEST, "digest": manifest.digest(), "size": manifest.bytes().len() }],
    }))?;
    for (text, manifest) in [("manifest", manifest), ("index", index)] {
        put_tagged(hub, name, &manifest, &tag(text)?).await?;
        for which in [Selector::Tag(tag(text)?), Selector::Digest(manifest.digest())] {
            let found =
                hub.reader.get_manifest(name, &which).await?.ok_or("a manifest that was put is not there")?;
            ensure(found == manifest, format_args!("{text}: came back changed by {which}"))?;
        }
    }
    expect(&hub.reader.tags(name).await?, &vec![tag("index")?, tag("manifest")?], "tags")
}

async fn untagged(hub: &Hub, name: &Name) -> Outcome {
    let manifest = manifest(hub, name, "untagged").await?;
    hub.writer.put_manifest(name, &manifest).await?;
    let found = hub.reader.get_manifest(name, &Selector::Digest(manifest.digest())).await?;
    expect(&found, &Some(manifest), "manifest")?;
    expect(&hub.reader.tags(name).await?, &Vec::new(), "tags")
}

async fn tag_moves(hub: &Hub, name: &Name) -> Outcome {
    let (old, new) = (manifest(hub, name, "old").await?, manifest(hub, name, "new").await?);
    let moving = tag("latest")?;
    for manifest in [&old, &new] {
        put_tagged(hub, name, manifest, &moving).await?;
        let found = hub.reader.get_manifest(name, &Selector::Tag(moving.clone())).await?;
        expect(&found.as_ref(), &Some(manifest), "manifest of the tag")?;
    }
    let found = hub.reader.get_manifest(name, &Selector::Digest(old.digest())).await?;
    expect(&found, &Some(old), "manifest that the tag has left")?;
    expect(&hub.reader.tags(name).await?, &vec![moving], "tags")
}

async fn own_tags(hub: &Hub, name: &Name) -> Outcome {
    let below: Name = format!("{name}/below").parse()?;
    for (name, text) in [(name, "upper"), (&below, "lower")] {
        let manifest = manifest(hub, name, text).await?;
        put_tagged(hub, name, &manifest, &tag(text)?).await?;
    }
    expect(&hub.reader.tags(name).await?, &vec![tag("upper")?], "tags")?;
    expect(&hub.reader.tags(&below).await?, &vec![tag("lower")?], "tags")?;
    expect(&hub.reader.get_manifest(&below, &Selector::Tag(tag("upper")?)).await?, &None, "manifest")
}

async fn listed(hub: &Hub, name: &Name) -> Outcome {
    let manifest = manifest(hub, name, "listed").await?;
    put_tagged(hub, name, &manifest, &tag("latest")?).await?;
    let names = hub.reader.names().await?;
    ensure(names.contains(name), format_args!("{name} is not among {names:?}"))?;
    ensure(names.is_sorted(), "names are not sorted")
}
