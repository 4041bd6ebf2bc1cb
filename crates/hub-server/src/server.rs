//! Listening: connections within their limits, and an end at which nothing is left half done.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub::dir::DirHub;
use hub::{HubError, LocationError};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::options::{Options, Tls};
use crate::service::Service;
use crate::space::Space;
use crate::stalling::Stalling;
use crate::uploads::Sessions;

/// Most bytes of a request's head, and of a body that are read at once.
const BUFFER: usize = 128 << 10;
/// How soon it is looked again when the kernel has no more file descriptors to give.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often uploads are looked for whose time is over, at the longest.
const SWEEP: Duration = Duration::from_secs(15);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder's path is none.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The folder is no hub, or cannot be used.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// Everybody on a network could write.
    #[error(
        "without tokens anybody who reaches {listen} could push: give --tokens FILE (`spore hub token new` makes one), or \
         --read-only, or listen on 127.0.0.1"
    )]
    Exposed {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// Another server has it.
    #[error("{}: another `spore hub serve` takes pushes for this hub: end it first, or give --read-only", folder.display())]
    Served {
        /// The hub.
        folder: PathBuf,
    },
    /// It cannot be listened there.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("{}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<HubError> for ServeError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<ServerConfig>,
    service: Service,
}

impl Server {
    /// Makes everything ready, and listens. A folder that is not there becomes a hub, unless it is only to be read.
    ///
    /// # Errors
    /// If the folder is no hub, others could write to it who should not, or it cannot be listened.
    pub async fn bind(options: Options) -> Result<Self, ServeError> {
        let Options { folder, listen, policy, limits, tls } = options;
        if policy.is_open() && !listen.ip().is_loopback() {
            return Err(ServeError::Exposed { listen });
        }
        let tls = tls.as_ref().map(configure).transpose()?;
        let hub = DirHub::at(&folder)?;
        let uploads = if policy.is_read_only {
            None
        } else {
            Some(hub.uploads().await?.ok_or(ServeError::Served { folder })?)
        };
        hub.check().await?;
        let space = Space::of(hub.clone(), limits.hub).await?;
        let sessions = uploads.map(|uploads| {
            Sessions::new(uploads, Arc::clone(&space), limits.uploads, limits.upload, limits.blob)
        });
        let refused = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, addr, tls, service: Service { hub, policy, limits, space, sessions } })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Scheme, address and port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.addr)
    }

    /// Serves until `stop` ends, and then until the requests that are under way are done, or their time is over. Uploads
    /// that are not complete then leave nothing.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let limits = self.service.limits;
        let (stopping, stopped) = watch::channel(());
        let connections = Connections {
            tls: self.tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            service: Arc::new(self.service),
            places: Arc::new(Semaphore::new(limits.connections)),
            stopped,
        };
        let mut tasks = JoinSet::new();
        tokio::select! {
            () = connections.accept(&self.listener, &mut tasks) => {}
            () = sweep(&connections.service) => {}
            () = stop => {}
        }
        drop(self.listener);
        drop(stopping);
        let ended = timeout(limits.end, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("{} requests took too long to end", tasks.len());
            tasks.shutdown().await;
        }
    }
}

/// Ends uploads whose time is over, for ever.
async fn sweep(service: &Service) {
    let period = (service.limits.upload / 4).clamp(Duration::from_millis(10), SWEEP);
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        if let Some(sessions) = &service.sessions {
            sessions.sweep();
        }
    }
}

/// What all connections share.
#[derive(Clone)]
struct Connections {
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    places: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

impl Connections {
    /// Accepts for ever. When all places are taken, who comes waits.
    async fn accept(&self, listener: &TcpListener, tasks: &mut JoinSet<()>) {
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tasks.spawn(self.clone().serve(stream, peer, place));
                }
                Err(error) => {
                    tracing::warn!("cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        let limits = &self.service.limits;
        // A small answer is not kept back; that it cannot be said is no reason not to answer.
        stream.set_nodelay(true).ok();
        let stream = Stalling::new(stream, limits.stall);
        match &self.tls {
            None => self.speak(stream, peer).await,
            Some(acceptor) => match timeout(limits.head, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.speak(stream, peer).await,
                Ok(Err(error)) => tracing::debug!(%peer, "TLS: {error}"),
                Err(_) => tracing::debug!(%peer, "TLS took too long"),
            },
        }
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let service = service_fn(|request| self.service.answer(peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.service.limits.head)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut stopped = self.stopped.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // It fails when the server is to end: nothing is ever sent.
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, "{error}");
        }
    }
}

fn configure(tls: &Tls) -> Result<ServerConfig, ServeError> {
    let unusable = |path: &Path, reason: String| ServeError::Tls { path: path.to_owned(), reason };
    let wrong = |error: &dyn std::fmt::Display| unusable(&tls.certificate, error.to_string());
    let chain = CertificateDer::pem_file_iter(&tls.certificate).map_err(|error| wrong(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    // What is wrong with a key is not shown: it could show some of it.
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|_| unusable(&tls.key, "expected a readable private key in PEM".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&error))?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
