//! Where a snapshot is pushed to and pulled from while somebody is killed: a hub of each kind, new and empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub::testing::garage::{Bucket, RealGarage};
use hub::testing::registry::{RealRegistry, RegistryOptions};

use crate::aftermath;
use crate::harness::run::Run;
use crate::harness::served::Served;
use crate::harness::{Spore, files};

/// A kind of hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    Registry,
    Bucket,
    Served,
    /// A bucket that is pushed to by a ticket.
    Ticket,
}

/// What makes hubs: all that this machine can run.
#[derive(Debug)]
pub struct Makers {
    test: &'static str,
    bucket: Option<Arc<Bucket>>,
    pub kinds: Vec<Kind>,
}

impl Makers {
    /// Says which of `kinds` are left out.
    pub fn new(test: &'static str, kinds: &[Kind]) -> Self {
        let name = test.rsplit("::").next().unwrap().replace('_', "-");
        let bucket = RealGarage::shared(test).map(|garage| Arc::new(garage.bucket(&name)));
        let has_registry = registry(test).is_some();
        let is_there = |kind: &Kind| match kind {
            Kind::Folder | Kind::Served => true,
            Kind::Registry => has_registry,
            Kind::Bucket | Kind::Ticket => bucket.is_some(),
        };
        let kinds = kinds.iter().copied().filter(is_there).collect();
        Self { test, bucket, kinds }
    }

    /// A kind for each try, in turns.
    pub fn kind(&self, number: u32) -> Kind {
        self.kinds[number as usize % self.kinds.len()]
    }

    /// A hub without anything in it, for what is `name` in the store of `spore`.
    #[track_caller]
    pub fn make(&self, kind: Kind, spore: &Spore, name: &str) -> Place {
        let folder = files::scratch("hub");
        let access = match kind {
            Kind::Folder => Access::Folder,
            Kind::Registry => Access::Registry(registry(self.test).expect("it was there before")),
            Kind::Served => Access::Served(Served::start(spore, &hub_in(folder.path()), &[])),
            Kind::Bucket | Kind::Ticket => {
                let bucket = Arc::clone(self.bucket.as_ref().expect("only what is there is asked for"));
                let prefix = folder.path().file_name().expect("it has a name").to_str().unwrap();
                let location = bucket.location(prefix).to_string();
                Access::Bucket { bucket, location, ticket: None }
            }
        };
        let mut place = Place { access, folder };
        if kind == Kind::Ticket {
            place.sign(spore, name);
        }
        place
    }
}

fn registry(test: &str) -> Option<RealRegistry> {
    RealRegistry::start(test, &RegistryOptions::default())
}

/// A hub, which goes with the value.
#[derive(Debug)]
pub struct Place {
    access: Access,
    folder: tempfile::TempDir,
}

/// How it is reached.
#[derive(Debug)]
enum Access {
    Folder,
    Registry(RealRegistry),
    Served(Served),
    Bucket { bucket: Arc<Bucket>, location: String, ticket: Option<PathBuf> },
}

impl Place {
    pub fn push(&self, spore: &Spore, name: &str) -> Run {
        match &self.access {
            // Whoever pushes by a ticket has no keys.
            Access::Bucket { ticket: Some(ticket), .. } => spore
                .command(["push".as_ref(), name.as_ref(), "--ticket".as_ref(), ticket.as_os_str()])
                .env("AWS_ACCESS_KEY_ID", "")
                .env("AWS_SECRET_ACCESS_KEY", ""),
            Access::Folder | Access::Bucket { .. } => self.at_hub(spore.command(["push", name])),
            Access::Registry(_) | Access::Served(_) => spore.command(["push", name, &self.reference(name)]),
        }
    }

    pub fn pull(&self, spore: &Spore, name: &str) -> Run {
        self.at_hub(spore.command(["pull", &self.reference(name)]))
    }

    /// What it is called in a store that it was pulled to.
    pub fn reference(&self, name: &str) -> String {
        let at = |host: &str| format!("{host}/{name}:latest");
        match &self.access {
            Access::Folder | Access::Bucket { .. } => name.to_owned(),
            Access::Registry(registry) => at(&registry.host()),
            Access::Served(served) => at(served.host()),
        }
    }

    /// Asserts that what can be seen there is whole.
    #[track_caller]
    pub fn assert_is_whole(&self, name: &str) {
        aftermath::assert_hub_is_whole(&hub_in(self.folder.path()));
        // Others verify digests themselves; a tag is to have all that it leads to.
        let planned = self.pull(&Spore::new(), name).args(["--dry-run"]).finish();
        assert!(matches!(planned.status.code(), Some(0 | 3)), "{planned}");
        assert!(!planned.error().contains("not complete"), "{planned}");
    }

    /// Adds hub and keys, where no reference says them.
    fn at_hub(&self, run: Run) -> Run {
        match &self.access {
            Access::Folder => run.args(["--hub".as_ref(), hub_in(self.folder.path()).as_os_str()]),
            Access::Registry(_) | Access::Served(_) => run,
            Access::Bucket { bucket, location, .. } => run
                .args(["--hub", location])
                .env("AWS_ACCESS_KEY_ID", &bucket.key().id)
                .env("AWS_SECRET_ACCESS_KEY", &bucket.key().secret),
        }
    }

    /// From here on pushes are made by a ticket.
    #[track_caller]
    fn sign(&mut self, spore: &Spore, name: &str) {
        let [manifest, signed] = ["manifest.json", "ticket.json"].map(|file| self.folder.path().join(file));
        fs::write(&manifest, spore.run(["inspect", name, "--manifest"]).succeeds().stdout).unwrap();
        let presign =
            spore.command(["push".as_ref(), "--presign".as_ref(), manifest.as_os_str(), name.as_ref()]);
        fs::write(&signed, self.at_hub(presign).finish().succeeds().stdout).unwrap();
        if let Access::Bucket { ticket, .. } = &mut self.access {
            *ticket = Some(signed);
        }
    }
}

fn hub_in(folder: &Path) -> PathBuf {
    folder.join("hub")
}
