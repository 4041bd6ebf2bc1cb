//! Garage, a real S3 store: one process for all tests of a test executable, on free loopback ports with its data in a folder of
//! its own; a bucket and keys for each test.
//!
//! It ends with the test process, however that ends. It is the one that `SPORE_TEST_GARAGE` names, else that of
//! `scripts/install-deps.sh --tests`, else that of PATH.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{End, Process};
use crate::bucket::AwsEnvironment;
use crate::{Access, HubLocation};

/// Where `scripts/install-deps.sh --tests` leaves it, within the sources.
const BUILT: &str = "target/garage/bin/garage";
const PROGRAM: &str = "garage";
const VARIABLE: &str = "SPORE_TEST_GARAGE";
const REGION: &str = "garage";

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How often it is started at most.
const STARTS: usize = 3;

/// A running store.
#[derive(Debug)]
pub struct RealGarage {
    // Fields are dropped in this order: nothing may write to the folder when it goes.
    process: Process,
    program: PathBuf,
    folder: TempDir,
    s3: SocketAddr,
    web: SocketAddr,
}

/// A bucket of it.
#[derive(Debug)]
pub struct Bucket {
    garage: Arc<RealGarage>,
    name: String,
    key: Key,
}

/// A key of an account.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// What a key may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// All.
    All,
    /// Read and list.
    Read,
    /// Nothing.
    Nothing,
}

impl RealGarage {
    /// The one of this process, started by the first test that asks. None where it is not there, and then says that `test` is
    /// skipped.
    ///
    /// # Panics
    /// If it is there but does not answer within a minute; with its log.
    #[must_use]
    #[allow(clippy::print_stdout, reason = "a test that cannot run says so in its output")]
    pub fn shared(test: &str) -> Option<Arc<Self>> {
        static SHARED: OnceLock<Mutex<Weak<RealGarage>>> = OnceLock::new();
        let Some(program) = find() else {
            println!("skipped: {test}: garage is not there");
            return None;
        };
        let mut shared = SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is last takes it down: statics are never dropped, and their folders would stay.
        let garage = shared.upgrade().unwrap_or_else(|| Arc::new(Self::start(&program)));
        *shared = Arc::downgrade(&garage);
        Some(garage)
    }

    fn start(program: &Path) -> Self {
        // It ends where somebody else has taken one of its ports meanwhile.
        let mut started = (0..STARTS).map(|_| Self::try_start(program));
        let (mut garage, mut answers) = started.next().expect("it is started at least once");
        while !answers {
            let log = fs::read_to_string(garage.folder.path().join("log")).unwrap_or_default();
            (garage, answers) =
                started.next().unwrap_or_else(|| panic!("garage does not answer; its log:\n{log}"));
        }
        garage
    }

    /// One, and whether it answers.
    fn try_start(program: &Path) -> (Self, bool) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // Garage does not say which port it was given: these were free a moment ago.
        let [s3, rpc, admin, web] = [(); 4].map(|()| free_port());
        write_config(folder.path(), s3, rpc, admin, web);
        let log = folder.path().join("log");
        let config = folder.path().join("config");
        let mut command = Process::command(program, End::Kill);
        command.arg("-c").arg(config).args(["server", "--single-node"]);
        let process = Process::start(command, &log, End::Kill);
        let garage = Self { process, program: program.to_owned(), folder, s3, web };
        let answers = garage.wait_until_it_answers();
        (garage, answers)
    }

    fn wait_until_it_answers(&self) -> bool {
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.s3).is_err() || self.try_run(&["bucket", "list"]).is_err() {
            if self.process.has_ended() || Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// What it calls itself, for reports.
    #[must_use]
    pub fn version(&self) -> String {
        self.run(&["--version"]).trim().to_owned()
    }

    /// A new bucket, and a key that may do all with it. Names of buckets have 3 to 63 characters.
    #[must_use]
    pub fn bucket(self: &Arc<Self>, name: &str) -> Bucket {
        self.run(&["bucket", "create", name]);
        let bucket = Bucket { garage: Arc::clone(self), name: name.to_owned(), key: self.key(name) };
        bucket.allow(&bucket.key, Permission::All);
        bucket
    }

    /// A new key, which may do nothing yet.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn key(&self, name: &str) -> Key {
        let text = self.run(&["key", "create", name]);
        let value = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            line.expect("garage shows the key that it made").trim().to_owned()
        };
        Key { id: value("Key ID:"), secret: value("Secret key:") }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|errors| panic!("garage {arguments:?}: {errors}"))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("config")).args(arguments).stdin(Stdio::null());
        let output = command.env_remove("RUST_LOG").output().expect("an installed program can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Bucket {
    /// Where its store speaks S3: for a [`FaultProxy`](super::proxy::FaultProxy).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.garage.s3
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key, which may do all.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The hub in it, below `prefix` if that is not empty.
    #[must_use]
    pub fn location(&self, prefix: &str) -> HubLocation {
        self.location_at(prefix, self.garage.s3)
    }

    /// The same, by way of a proxy.
    ///
    /// # Panics
    /// If the prefix is none.
    #[must_use]
    pub fn location_at(&self, prefix: &str, addr: SocketAddr) -> HubLocation {
        let slash = if prefix.is_empty() { "" } else { "/" };
        let text = format!("s3://{}{slash}{prefix}?endpoint=http://{addr}&region={REGION}", self.name);
        HubLocation::parse(&text).expect("the location of a test is one")
    }

    /// As whoever has its key.
    #[must_use]
    pub fn access(&self) -> Access {
        access(Some(&self.key))
    }

    /// Lets a key do more, or less.
    pub fn allow(&self, key: &Key, permission: Permission) {
        let change = |verb, rights: &[&str]| {
            let key = ["bucket", verb, &self.name, "--key", &key.id];
            self.garage.run(&[&key[..], rights].concat());
        };
        change("deny", &["--read", "--write", "--owner"]);
        match permission {
            Permission::All => change("allow", &["--read", "--write", "--owner"]),
            Permission::Read => change("allow", &["--read"]),
            Permission::Nothing => {}
        }
    }

    /// Lets anybody read its objects over plain HTTP. Where, and as which host.
    #[must_use]
    pub fn publish(&self) -> (SocketAddr, String) {
        self.garage.run(&["bucket", "website", "--allow", &self.name]);
        (self.garage.web, format!("{}.web.localhost", self.name))
    }

    /// Limits what it holds.
    pub fn set_quota(&self, bytes: u64) {
        self.garage.run(&["bucket", "set-quotas", &self.name, "--max-size", &format!("{bytes}B")]);
    }
}

/// As whoever has `key`, or as nobody.
#[must_use]
pub fn access(key: Option<&Key>) -> Access {
    let variables =
        key.map(|key| [("AWS_ACCESS_KEY_ID", key.id.clone()), ("AWS_SECRET_ACCESS_KEY", key.secret.clone())]);
    let aws = AwsEnvironment::from_variables(variables.into_iter().flatten());
    Access { aws, ..super::no_access() }
}

fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(BUILT);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    std::iter::once(built).chain(installed).find(|path| path.is_file())
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address")
}

fn write_config(folder: &Path, s3: SocketAddr, rpc: SocketAddr, admin: SocketAddr, web: SocketAddr) {
    let (meta, data) = (folder.join("meta"), folder.join("data"));
    let text = format!(
        "metadata_dir = {meta:?}\n\
         data_dir = {data:?}\n\
         db_engine = \"sqlite\"\n\
         replication_factor = 1\n\
         rpc_bind_addr = \"{rpc}\"\n\
         rpc_public_addr = \"{rpc}\"\n\
         rpc_secret = \"{secret}\"\n\
         [s3_api]\n\
         s3_region = \"{REGION}\"\n\
         api_bind_addr = \"{s3}\"\n\
         root_domain = \".s3.localhost\"\n\
         [s3_web]\n\
         bind_addr = \"{web}\"\n\
         root_domain = \".web.localhost\"\n\
         [admin]\n\
         api_bind_addr = \"{admin}\"\n",
        secret = "5e".repeat(32),
    );
    fs::write(folder.join("config"), text).expect("a file can be made in a new folder");
}
