//! A server over a new folder, and a plain client of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use format::Digest;
use hub::credentials::Credentials;
use hub::testing::{no_access, write_certificates};
use hub::{Access, HubLocation, Registry};
use hub_server::{Limits, Namespace, NewToken, Options, Policy, ServeError, Server, Tls, Tokens};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// After this, what was waited for will not come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct World {
    pub(crate) temp: TempDir,
    pub(crate) addr: SocketAddr,
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
    client: Client,
}

/// What it is to be like.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) tls: bool,
}

pub(crate) fn options(folder: &Path, setup: Setup) -> Options {
    let certificates = folder.parent().unwrap();
    let tls = setup.tls.then(|| {
        write_certificates(certificates);
        Tls { certificate: certificates.join("cert.pem"), key: certificates.join("key.pem") }
    });
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    Options { folder: folder.to_owned(), listen, policy: setup.policy, limits: setup.limits, tls }
}

fn unfinished(folder: &Path) -> usize {
    fs::read_dir(folder.join("tmp/serve")).map_or(0, Iterator::count)
}

/// Waits until no upload is left in a server's folder.
pub(crate) async fn settles(folder: &Path) {
    let end = Instant::now() + DEADLINE;
    while unfinished(folder) > 0 {
        assert!(Instant::now() < end, "{} uploads are left", unfinished(folder));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        Self::over(tempfile::tempdir().unwrap(), setup).await.unwrap()
    }

    pub(crate) async fn open() -> Self {
        Self::new(Setup::default()).await
    }

    pub(crate) async fn over(temp: TempDir, setup: Setup) -> Result<Self, ServeError> {
        let server = Server::bind(options(&temp.path().join("hub"), setup)).await?;
        let (addr, url) = (server.addr(), server.url());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            stopped.await.ok();
        }));
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        Ok(Self { temp, addr, url, stop: Some(stop), task: Some(task), client })
    }

    /// Ends the server, and gives its folder.
    pub(crate) async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        tokio::time::timeout(DEADLINE, self.task.take().unwrap()).await.unwrap().unwrap();
        // A process that another test starts has all that was open here until it runs its program, the server's lock too.
        let served = fs::File::open(self.folder().join("tmp/serve")).unwrap();
        tokio::task::spawn_blocking(move || served.lock().and_then(|()| served.unlock()))
            .await
            .unwrap()
            .unwrap();
        self.temp
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.temp.path().join("hub")
    }

    pub(crate) fn blob_file(&self, digest: &Digest) -> PathBuf {
        self.folder().join("blobs/sha256").join(digest.hex())
    }

    /// Files of uploads that have not come to an end.
    pub(crate) fn unfinished(&self) -> usize {
        unfinished(&self.folder())
    }

    /// Waits until no upload is left.
    pub(crate) async fn settles(&self) {
        settles(&self.folder()).await;
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    pub(crate) async fn status(&self, method: &str, path: &str) -> StatusCode {
        self.request(method, path).send().await.unwrap().status()
    }

    /// Puts a blob in one request.
    pub(crate) async fn put_blob(&self, name: &str, bytes: &[u8], token: Option<&str>) -> Response {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::of(bytes));
        let request = self.request("POST", &path).body(bytes.to_vec());
        with(request, token).send().await.unwrap()
    }

    /// Begins an upload, and gives its path.
    pub(crate) async fn begin(&self, name: &str, token: Option<&str>) -> String {
        let begun =
            with(self.request("POST", &format!("/v2/{name}/blobs/uploads/")), token).send().await.unwrap();
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        begun.headers()["location"].to_str().unwrap().to_owned()
    }

    /// As a registry, to whoever has `password`.
    pub(crate) fn registry(&self, password: Option<&str>) -> Arc<dyn Registry> {
        open(&format!("oci+{}", self.named()), &self.access(password))
    }

    /// As files on a web server.
    pub(crate) fn files(&self, password: Option<&str>) -> Arc<dyn Registry> {
        open(&self.named(), &self.access(password))
    }

    /// With the name that its certificate has.
    pub(crate) fn named(&self) -> String {
        if self.url.starts_with("https") {
            self.url.replace("127.0.0.1", "localhost")
        } else {
            self.url.clone()
        }
    }

    pub(crate) fn host(&self) -> String {
        self.named().split_once("://").unwrap().1.to_owned()
    }

    fn access(&self, password: Option<&str>) -> Access {
        let mut access = no_access();
        if let Some(password) = password {
            use base64::Engine as _;
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("any:{password}"));
            let host = self.host();
            let file = self.temp.path().join(format!("auth-{}.json", Digest::of(password.as_bytes()).hex()));
            let auths = serde_json::json!({ "auths": { host: { "auth": auth } } });
            fs::write(&file, auths.to_string()).unwrap();
            access.credentials = Credentials::from_files(vec![file]);
        }
        if self.url.starts_with("https") {
            access.trust(&self.temp.path().join("ca.pem")).unwrap();
        }
        access
    }
}

fn open(location: &str, access: &Access) -> Arc<dyn Registry> {
    hub::open(&HubLocation::parse(location).unwrap(), access).unwrap()
}

pub(crate) fn with(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    match token {
        Some(token) => request.basic_auth("any", Some(token)),
        None => request,
    }
}

/// A token that is for these, and the entry of a file for it.
pub(crate) fn token(name: &str, push: &[&str], pull: bool, delete: bool) -> (String, String) {
    let push = push.iter().map(|text| text.parse::<Namespace>().unwrap()).collect();
    let new = NewToken::generate(name, push, pull, delete).unwrap();
    (new.token.expose().to_owned(), new.entry)
}

pub(crate) fn tokens(entries: &[&str]) -> Policy {
    Policy { tokens: Some(Tokens::parse(&entries.concat()).unwrap()), ..Policy::default() }
}

/// The code of a refusal.
pub(crate) async fn code(answer: Response) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

/// A manifest whose parts are these.
pub(crate) fn manifest(config: &[u8]) -> Vec<u8> {
    let json = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.example", "digest": Digest::of(config), "size": config.len(),
        },
        "layers": [],
    });
    serde_json::to_vec(&json).unwrap()
}
