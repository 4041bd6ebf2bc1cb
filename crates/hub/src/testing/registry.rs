//! Debian's docker-registry, a real OCI registry, started for one test on a free loopback port with its data in a
//! folder of its own.
//!
//! It ends when dropped, and with the test process, however that ends. Its address is the one that it prints, so no
//! port is ever guessed. It keeps no cache: what a test does to its files is what it serves.

mod config;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use format::Digest;
use tempfile::TempDir;

use super::process::{End, Process};
use super::token::{TokenOptions, TokenServer};
use super::{POLL, START, answers, is_installed, run};

/// What a registry is to be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Who is let in.
    pub auth: Auth,
    /// Whether it speaks TLS, as `localhost`, with a certificate of an authority that nobody knows:
    /// [`RealRegistry::ca`].
    pub tls: bool,
}

/// Who is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// Anybody, to pull and push.
    #[default]
    Open,
    /// [`USER`](super::USER) with [`PASSWORD`](super::PASSWORD) by HTTP Basic authentication.
    Basic,
    /// Bearers of a token of the server that is started too: [`RealRegistry::tokens`].
    Token(TokenOptions),
    /// Who shows a certificate of the registry's own authority: [`RealRegistry::client_certificate`]. Only with TLS.
    Certificate,
}

/// Which manifests a collection leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    /// All.
    Keep,
    /// Those that a tag names.
    Delete,
}

/// A running registry. Deleting is enabled in it.
#[derive(Debug)]
pub struct RealRegistry {
    // Fields are dropped in this order: nothing may write to the folder when it goes.
    process: Option<Process>,
    tokens: Option<TokenServer>,
    folder: TempDir,
    addr: SocketAddr,
    tls: bool,
}

impl RealRegistry {
    /// Starts one, and waits until it answers. Blocks for some 100 ms. None where docker-registry is not installed,
    /// and then says that `test` is skipped.
    ///
    /// # Panics
    /// If it is installed but does not answer within 20 s; with its log.
    #[must_use]
    #[allow(clippy::print_stdout, reason = "a test that cannot run says so in its output")]
    pub fn start(test: &str, options: &RegistryOptions) -> Option<Self> {
        if !is_installed("docker-registry") {
            println!("skipped: {test}: docker-registry is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let tokens = match options.auth {
            Auth::Token(options) => Some(TokenServer::start(options)),
            Auth::Open | Auth::Basic | Auth::Certificate => None,
        };
        config::write_config(folder.path(), options, tokens.as_ref());
        let log = folder.path().join("log");
        let mut command = Process::command("docker-registry", End::Kill);
        command.arg("serve").arg(folder.path().join("config.yml"));
        let process = Process::start(command, &log, End::Kill);
        let addr = wait_until_it_answers(&process, &log);
        Some(Self { process: Some(process), tokens, folder, addr, tls: options.tls })
    }

    /// Where it listens: for a [`FaultProxy`](super::proxy::FaultProxy).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its host and port, as references to images have it: `127.0.0.1:PORT`, or `localhost:PORT` with TLS.
    #[must_use]
    pub fn host(&self) -> String {
        if self.tls { format!("localhost:{}", self.addr.port()) } else { self.addr.to_string() }
    }

    /// Scheme and [`host`](Self::host), without a slash behind.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.host())
    }

    /// The certificate of the authority that signed its own, as a PEM file; none without TLS.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path().join("ca.pem"))
    }

    /// A certificate that it lets in, and its key, as PEM files; none without TLS.
    #[must_use]
    pub fn client_certificate(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls.then(|| (self.folder.path().join("client.pem"), self.folder.path().join("client-key.pem")))
    }

    /// Its token server, with [`Auth::Token`].
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// What it calls itself, for reports.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn version(&self) -> String {
        run(Command::new("docker-registry").arg("--version")).trim().to_owned()
    }

    /// Deletes the blobs that no manifest needs. Nobody must push at the same time.
    ///
    /// # Panics
    /// If the collection fails.
    pub fn garbage_collect(&self, untagged: Untagged) {
        let mut command = Command::new("docker-registry");
        command.arg("garbage-collect").arg(self.folder.path().join("config.yml"));
        if untagged == Untagged::Delete {
            command.arg("--delete-untagged");
        }
        run(&mut command);
    }

    /// The file that holds, or would hold, a blob's bytes. Manifests are blobs, too.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let prefix: String = hex.chars().take(2).collect();
        self.blobs_folder().join(prefix).join(hex).join("data")
    }

    /// All blobs that it stores, of all repositories, in the order of their digests.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        let prefixes = entries(&self.blobs_folder()).into_iter();
        let folders = prefixes.flat_map(|prefix| entries(&self.blobs_folder().join(prefix)));
        let mut digests: Vec<_> = folders.filter_map(|name| Digest::from_hex(&name).ok()).collect();
        digests.retain(|digest| self.blob_path(digest).exists());
        digests.sort_unstable();
        digests
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// If the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the registry's log can be read")
    }

    /// Kills it. Its files stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    fn blobs_folder(&self) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2/blobs/sha256")
    }
}

/// The names in a folder; none where there is no folder.
fn entries(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn wait_until_it_answers(process: &Process, log: &Path) -> SocketAddr {
    let deadline = Instant::now() + START;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(addr) = listening_on(&text).filter(|addr| answers(*addr)) {
            return addr;
        }
        let goes_on = !process.has_ended() && Instant::now() < deadline;
        assert!(goes_on, "docker-registry does not answer; its log:\n{text}");
        thread::sleep(POLL);
    }
}

/// The address in its log: `msg="listening on 127.0.0.1:PORT"`, with `, tls` behind the port or not.
fn listening_on(log: &str) -> Option<SocketAddr> {
    let (_, behind) = log.split_once("msg=\"listening on ")?;
    let (addr, _) = behind.split_once(['"', ','])?;
    addr.parse().ok()
}
