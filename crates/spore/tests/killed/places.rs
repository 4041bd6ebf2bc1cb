//! Where a snapshot is pushed to and pulled from while somebody is killed: a hub of each kind, new and empty.

use std::fs;
use std::path::PathBuf;

use crate::aftermath;
use crate::harness::hubs::Hub;
use crate::harness::run::Run;
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
    pub kinds: Vec<Kind>,
}

impl Makers {
    /// Says which of `kinds` are left out.
    pub fn new(test: &'static str, kinds: &[Kind]) -> Self {
        let kinds = kinds.iter().copied().filter(|kind| hub(test, *kind).is_some()).collect();
        Self { test, kinds }
    }

    /// A hub without anything in it, for what is `name` in the store of `spore`.
    #[track_caller]
    pub fn make(&self, kind: Kind, spore: &Spore, name: &str) -> Place {
        let hub = hub(self.test, kind).expect("it was there before");
        let mut place = Place { hub, ticket: None, folder: files::scratch("place") };
        if kind == Kind::Ticket {
            place.sign(spore, name);
        }
        place
    }
}

fn hub(test: &str, kind: Kind) -> Option<Hub> {
    match kind {
        Kind::Folder => Some(Hub::folder()),
        Kind::Registry => Hub::registry(test),
        Kind::Served => Some(Hub::served()),
        Kind::Bucket | Kind::Ticket => Hub::bucket(test),
    }
}

/// A hub, and how it is pushed to.
#[derive(Debug)]
pub struct Place {
    hub: Hub,
    ticket: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn push(&self, spore: &Spore, name: &str) -> Run {
        match &self.ticket {
            // Whoever pushes by a ticket has no keys.
            Some(ticket) => spore
                .command(["push".as_ref(), name.as_ref(), "--ticket".as_ref(), ticket.as_os_str()])
                .env("AWS_ACCESS_KEY_ID", "")
                .env("AWS_SECRET_ACCESS_KEY", ""),
            None => self.at_hub(spore, &["push", name]),
        }
    }

    pub fn pull(&self, spore: &Spore, name: &str) -> Run {
        self.at_hub(spore, &["pull", name])
    }

    /// Asserts that what can be seen there is whole.
    #[track_caller]
    pub fn assert_is_whole(&self, name: &str) {
        aftermath::assert_hub_is_whole(&self.hub.path());
        // Others verify digests themselves; a tag is to have all that it leads to.
        let planned = self.pull(&Spore::new(), name).args(["--dry-run"]).finish();
        assert!(matches!(planned.status.code(), Some(0 | 3)), "{planned}");
        assert!(!planned.error().contains("not complete"), "{planned}");
    }

    fn at_hub(&self, spore: &Spore, args: &[&str]) -> Run {
        self.hub.with_keys(spore.command(args).args(["--hub", &self.hub.location]))
    }

    /// From here on pushes are made by a ticket.
    #[track_caller]
    fn sign(&mut self, spore: &Spore, name: &str) {
        let [manifest, signed] = ["manifest.json", "ticket.json"].map(|file| self.folder.path().join(file));
        fs::write(&manifest, spore.run(["inspect", name, "--manifest"]).succeeds().stdout).unwrap();
        let presign = self.at_hub(spore, &["push", "--presign", manifest.to_str().unwrap(), name]);
        fs::write(&signed, presign.finish().succeeds().stdout).unwrap();
        self.ticket = Some(signed);
    }
}
