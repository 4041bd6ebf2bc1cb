//! A token server, as registries with token authentication send their clients to: `GET /token?service=…&scope=…`
//! answers with a JSON Web Token that Debian's docker-registry accepts (distribution 2.8, `registry/auth/token`).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{Certificate, CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::background::Background;
use super::head::{Body, Head};
use super::{PASSWORD, USER};

/// Who issues the tokens; the registry must expect the same.
pub(super) const ISSUER: &str = "spore-test-issuer";
/// Whom the tokens are for.
pub(super) const SERVICE: &str = "spore-test-registry";

/// How long after its expiry distribution still accepts a token (`Leeway`). Tokens are signed so much shorter.
const LEEWAY: Duration = Duration::from_secs(60);

/// Whom a token server gives what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOptions {
    /// For how long the registry accepts a token, in whole seconds, at least 1. The answer's `expires_in` says the
    /// same.
    pub lifetime: Duration,
    /// Whether anybody may pull.
    pub anonymous_pull: bool,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(300), anonymous_pull: false }
    }
}

/// What a token server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// `service` of the query.
    pub service: Option<String>,
    /// Each `scope` of the query, such as `repository:NAME:pull,push`, in order.
    pub scopes: Vec<String>,
    /// The user's name, where credentials came along.
    pub user: Option<String>,
    /// Whether a token was given. It may allow less than was asked for.
    pub granted: bool,
}

/// A token server that runs until dropped.
#[derive(Debug)]
pub struct TokenServer {
    addr: SocketAddr,
    certificate: Certificate,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Debug)]
struct Shared {
    key: EcdsaKeyPair,
    /// Of the key, in DER.
    certificate: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    options: TokenOptions,
    requests: Vec<TokenRequest>,
}

impl TokenServer {
    pub(super) fn start(options: TokenOptions) -> Self {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        let certificate = params.self_signed(&key).expect("a certificate can be signed");
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &SystemRandom::new(),
        );
        let shared = Arc::new(Shared {
            key: key.expect("the generated key is one for P-256"),
            certificate: certificate.der().to_vec(),
            state: Mutex::new(State { options, requests: Vec::new() }),
        });
        let server = Arc::clone(&shared);
        let (background, addr) = Background::serve("token server", |listener| serve(listener, server));
        Self { addr, certificate, shared, _background: background }
    }

    /// Where it listens: for a [`FaultProxy`](super::proxy::FaultProxy).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address for `WWW-Authenticate`.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.addr)
    }

    /// All requests for tokens so far, refused ones too.
    #[must_use]
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.shared.lock().requests.clone()
    }

    /// Changes how long tokens that are given from here on are accepted: see [`TokenOptions::lifetime`].
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.shared.lock().options.lifetime = lifetime;
    }

    /// The certificate that a registry has to trust.
    pub(super) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A client that breaks off is the client's affair.
        tokio::spawn(async move { shared.answer(stream).await.ok() });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request and closes.
    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut input = BufReader::new(&mut stream);
        let Some(head) = Head::read(&mut input).await? else { return Ok(()) };
        // Closing with bytes unread would reset the connection before the client has the answer.
        if let Body::Length(length) = head.body_of_request() {
            copy(&mut input.take(length), &mut sink()).await?;
        }
        let url = Url::parse("http://token.invalid").and_then(|base| base.join(head.word(1)));
        let (status, body) = match url {
            Ok(url) if head.word(0) == "GET" && url.path() == "/token" => self.token(&head, &url),
            _ => ("404 Not Found", json!({"errors": [{"code": "UNSUPPORTED"}]})),
        };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             WWW-Authenticate: Basic realm=\"spore-test\"\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    fn token(&self, head: &Head, url: &Url) -> (&'static str, Value) {
        let values = |key: &str| -> Vec<String> {
            url.query_pairs().filter(|(name, _)| name == key).map(|(_, value)| value.into_owned()).collect()
        };
        let credentials = head.header("authorization").map(|value| basic(value).unwrap_or_default());
        let known = credentials.as_ref().map(|(user, password)| user == USER && password == PASSWORD);
        let mut state = self.lock();
        let granted = known.unwrap_or(state.options.anonymous_pull);
        let request = TokenRequest {
            service: values("service").pop(),
            scopes: values("scope"),
            user: credentials.map(|(user, _)| user),
            granted,
        };
        state.requests.push(request.clone());
        if !granted {
            return ("401 Unauthorized", json!({"errors": [{"code": "UNAUTHORIZED"}]}));
        }
        let is_anonymous = known.is_none();
        // One query parameter may hold several scopes (RFC 6749, 3.3).
        let scopes = request.scopes.iter().flat_map(|scopes| scopes.split(' '));
        let access: Vec<_> = scopes.filter_map(|scope| access(scope, is_anonymous)).collect();
        let lifetime = state.options.lifetime;
        let token = self.sign(request.user.as_deref().unwrap_or_default(), &access, lifetime);
        ("200 OK", json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()}))
    }

    fn sign(&self, subject: &str, access: &[Value], lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.certificate)]});
        // Never a part of a second too early.
        let end = (now + lifetime).saturating_sub(LEEWAY).as_secs() + 1;
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": SERVICE, "jti": now.as_nanos().to_string(),
            "iat": now.as_secs(), "nbf": now.as_secs(), "exp": end,
            "access": access,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("P-256 signs any text");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What `TYPE:NAME:ACTIONS` comes to. The name may have colons, too.
fn access(scope: &str, is_anonymous: bool) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let is_allowed = |action: &&str| !is_anonymous || (kind == "repository" && *action == "pull");
    let actions: Vec<_> = actions.split(',').filter(is_allowed).collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

/// User and password of an `Authorization` header.
fn basic(value: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let (user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
