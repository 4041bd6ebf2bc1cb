//! A real hub of each kind, and users of it.

use std::fs;
use std::path::PathBuf;

use hub::testing::garage::{Bucket, RealGarage};
use hub::testing::nginx::{Behind, NginxOptions, RealNginx};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{SampleSpec, put_sample};
use serde_json::Value;
use store::Store;
use tempfile::TempDir;

use super::run::Run;
use super::served::Served;
use super::{Spore, files};

/// What samples are called in hubs.
pub const NAME: &str = "team/sample";
/// The same with the tag that they have.
pub const NAME_1: &str = "team/sample:1";

/// A hub, which goes with the value.
#[derive(Debug)]
pub struct Hub {
    /// As `--hub` takes it.
    pub location: String,
    /// Where to push so that it is there.
    pub pushed_at: String,
    /// What serves it.
    pub server: Server,
    /// Goes after the server that reads it.
    folder: TempDir,
}

/// What serves a hub.
#[derive(Debug)]
pub enum Server {
    Nothing,
    Registry(RealRegistry),
    Bucket(Bucket),
    Web { _nginx: RealNginx },
    Served(Served),
}

impl Hub {
    fn new(location: String, server: Server, folder: TempDir) -> Self {
        Self { pushed_at: location.clone(), location, server, folder }
    }

    pub fn folder() -> Self {
        let folder = files::scratch("hub");
        Self::new(path_in(&folder).to_str().unwrap().to_owned(), Server::Nothing, folder)
    }

    /// Debian's docker-registry.
    pub fn registry(test: &str) -> Option<Self> {
        let registry = RealRegistry::start(test, &RegistryOptions::default())?;
        let location = format!("oci://{}", registry.host());
        Some(Self::new(location, Server::Registry(registry), files::scratch("hub")))
    }

    /// A new bucket of Garage.
    pub fn bucket(test: &str) -> Option<Self> {
        let bucket = RealGarage::shared(test)?.bucket(&format!("hub-{}", files::random_word(12)));
        let location = bucket.location("").to_string();
        Some(Self::new(location, Server::Bucket(bucket), files::scratch("hub")))
    }

    /// nginx on a folder.
    pub fn web(test: &str) -> Option<Self> {
        let folder = files::scratch("hub");
        fs::create_dir(path_in(&folder)).unwrap();
        let nginx = RealNginx::start(test, Behind::Folder(&path_in(&folder)), &NginxOptions::default())?;
        let pushed_at = path_in(&folder).to_str().unwrap().to_owned();
        Some(Self { pushed_at, ..Self::new(nginx.url(), Server::Web { _nginx: nginx }, folder) })
    }

    /// `spore hub serve`, spoken to as a registry.
    pub fn served() -> Self {
        let folder = files::scratch("hub");
        let served = Served::start(&Spore::new(), &path_in(&folder), &[]);
        Self::new(format!("oci://{}", served.host()), Server::Served(served), folder)
    }

    /// The folder that is given out: of a registry or a bucket one that is not there.
    pub fn path(&self) -> PathBuf {
        path_in(&self.folder)
    }

    /// Adds the keys of whom a bucket lets in.
    pub fn with_keys(&self, run: Run) -> Run {
        match &self.server {
            Server::Bucket(bucket) => run
                .env("AWS_ACCESS_KEY_ID", &bucket.key().id)
                .env("AWS_SECRET_ACCESS_KEY", &bucket.key().secret),
            _ => run,
        }
    }

    /// Pushes what [`bake`] made; gives what is said of it.
    #[track_caller]
    pub fn push(&self, spore: &Spore, seed: &str) -> Value {
        spore.json(["push", &format!("{seed}:1"), &format!("{NAME}:1"), "--hub", &self.pushed_at])
    }

    /// Asserts that somebody who has nothing yet gets this snapshot from there, whole.
    #[track_caller]
    pub fn assert_gives(&self, digest: &str) {
        let puller = user([self]);
        let pulled = puller.json(["pull", NAME_1, "--hub", &self.location]);
        assert_eq!(pulled["digest"], digest);
        puller.fsck();
    }

    /// Asserts that every blob that its folder has is what its name says; gives their number.
    #[track_caller]
    pub fn assert_blobs_are_whole(&self) -> usize {
        let blobs = files::entries(&self.path().join("blobs/sha256"));
        for blob in &blobs {
            assert_eq!(files::digest(blob).hex(), blob.file_name().unwrap().to_str().unwrap());
        }
        blobs.len()
    }
}

fn path_in(folder: &TempDir) -> PathBuf {
    folder.path().join("hub")
}

/// Bytes that a `--dry-run` says are missing where they would go.
#[track_caller]
pub fn missing_bytes(plan: &Value) -> u64 {
    plan["missing"].as_array().unwrap().iter().map(|blob| blob["size"].as_u64().unwrap()).sum()
}

/// Somebody with the keys of these hubs, of which one may be a bucket, and with no others.
pub fn user<'a>(hubs: impl IntoIterator<Item = &'a Hub>) -> Spore {
    let key = hubs.into_iter().find_map(|hub| match &hub.server {
        Server::Bucket(bucket) => Some(bucket.key()),
        _ => None,
    });
    Spore::new()
        .without_logins()
        .env("AWS_ACCESS_KEY_ID", key.map_or("", |key| &key.id))
        .env("AWS_SECRET_ACCESS_KEY", key.map_or("", |key| &key.secret))
}

/// Writes the user's configuration.
pub fn configure(spore: &Spore, text: &str) {
    let folder = spore.root().with_file_name("config").join("spore");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

/// Puts a sample into the store as `local/SEED:1`; gives its digest. It has some MB, and shares its layers with all others.
pub fn bake(spore: &Spore, seed: &str) -> String {
    let store = Store::open(spore.root()).unwrap();
    let spec = SampleSpec { seed, layer_pages: 100, memory_pages: 400, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&format!("local/{seed}:1").parse().unwrap(), &sample.digest, None).unwrap();
    sample.digest.to_string()
}
