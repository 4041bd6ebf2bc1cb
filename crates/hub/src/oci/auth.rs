//! Who we are to a registry: its challenges answered, and tokens kept until they end.
//!
//! Sources: RFC 9110, 11 (challenges), RFC 7617 (Basic), and distribution's "Token Authentication Specification" and "OAuth2
//! Token Authentication" (Bearer).
//!
//! A credential is sent to the registry and to the token server that it names, and to nobody else: to the latter over TLS
//! only, unless the registry itself is spoken to without.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::HubError;
use crate::blocking::blocking;
use crate::credentials::{Credential, Credentials};
use crate::http::{Answer, Failure, Http, leads_elsewhere};

/// Most bytes of a token server's answer.
const ANSWER_BYTES: usize = 256 << 10;
/// How long a token is good for whose server does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used for another request when it ends sooner than this, or has had half of a shorter life.
const MARGIN: Duration = Duration::from_secs(5);

/// Longer than any command runs.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// What a request needs to be allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// `repository` or `registry`; nothing if it is enough to be known.
    pub(super) kind: &'static str,
    /// The whole name of a repository there.
    pub(super) name: String,
    pub(super) actions: &'static str,
    /// The whole name of another repository, to be read too: a blob is mounted from there.
    pub(super) source: Option<String>,
}

impl Scope {
    /// As token servers read them: `repository:team/numpy:pull,push`.
    fn texts(&self) -> Vec<String> {
        let Self { kind, name, actions, source } = self;
        let own = (!kind.is_empty()).then(|| format!("{kind}:{name}:{actions}"));
        own.into_iter().chain(source.iter().map(|source| format!("repository:{source}:pull"))).collect()
    }
}

/// Whose requests these are.
#[derive(Debug)]
pub(super) enum Identity {
    /// This one's.
    Known(Credential),
    /// Whoever the user's files say it is, for each repository.
    OfUser(Credentials),
}

/// The answers to a registry's challenges.
#[derive(Debug)]
pub(super) struct Auth {
    http: Http,
    /// The registry's host and port.
    host: String,
    identity: Identity,
    is_secure: bool,
    /// Held while a token is fetched, so that of many requests at once one fetches it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the registry asked for, once it has.
    method: Option<Method>,
    tokens: HashMap<Scope, Token>,
}

#[derive(Debug, Clone)]
enum Method {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    /// Until when it is sent with new requests, which may take a while to arrive.
    until: Instant,
    /// When it ends.
    end: Instant,
    /// Whether it has opened anything yet: one that has not is refused for another reason than its end, until then.
    was_accepted: bool,
}

/// The token has two names, of which either or both are there.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(http: Http, host: String, identity: Identity, is_secure: bool) -> Self {
        Self { http, host, identity, is_secure, state: Mutex::default() }
    }

    async fn credential(&self, scope: &Scope) -> Result<Option<Credential>, Failure> {
        let credentials = match &self.identity {
            Identity::Known(credential) => return Ok(Some(credential.clone())),
            Identity::OfUser(credentials) => credentials.clone(),
        };
        let (host, name) = (self.host.clone(), scope.name.clone());
        let found = blocking(move || credentials.find(&host, &name)).await;
        found.map_err(|source| {
            HubError::Credential { hub: self.host.clone(), source: Box::new(source) }.into()
        })
    }

    /// What to send with a request, as far as the registry's ways are known.
    pub(super) async fn header(&self, scope: &Scope) -> Result<Option<HeaderValue>, Failure> {
        let mut state = self.state.lock().await;
        let Some(method) = state.method.clone() else { return Ok(None) };
        if let Some(token) = state.tokens.get(scope).filter(|token| Instant::now() < token.until) {
            return Ok(Some(token.header.clone()));
        }
        let token = self.token(&method, scope).await?;
        let header = token.header.clone();
        state.tokens.insert(scope.clone(), token);
        Ok(Some(header))
    }

    /// Learns from an answer whether the request's `sent` was right. An answer that was refused for a token that has ended, or
    /// for want of one, is an error that passes.
    pub(super) async fn check(
        &self,
        response: Answer,
        scope: &Scope,
        sent: Option<&HeaderValue>,
        action: &str,
    ) -> Result<Answer, Failure> {
        let status = response.status();
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.accept(scope, sent).await;
            return Ok(response);
        }
        let denied = || Failure::Final(self.http.denied(action));
        if status == StatusCode::FORBIDDEN {
            return Err(denied());
        }
        let mut state = self.state.lock().await;
        match state.tokens.get(scope) {
            // Another request has fetched a new one meanwhile.
            Some(current) if sent != Some(&current.header) => {}
            Some(current) if !current.was_accepted && Instant::now() < current.end => return Err(denied()),
            current => {
                if sent.is_some() && current.is_none() {
                    return Err(denied());
                }
                state.method = Some(self.method(response.headers()).ok_or_else(denied)?);
                state.tokens.remove(scope);
            }
        }
        Err(Failure::Passing(self.http.denied(action), Some(Duration::ZERO)))
    }

    async fn accept(&self, scope: &Scope, sent: Option<&HeaderValue>) {
        let Some(sent) = sent else { return };
        if let Some(token) =
            self.state.lock().await.tokens.get_mut(scope).filter(|token| token.header == *sent)
        {
            token.was_accepted = true;
        }
    }

    /// The first challenge that can be answered.
    fn method(&self, headers: &HeaderMap) -> Option<Method> {
        let values = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
        let challenges = values.filter_map(|value| http_auth::parse_challenges(value).ok()).flatten();
        challenges
            .filter_map(|challenge| {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    return Some(Method::Basic);
                }
                if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                    return None;
                }
                let realm = Url::parse(&parameter("realm")?).ok()?;
                let is_fit = realm.scheme() == "https" || realm.scheme() == "http" && !self.is_secure;
                is_fit.then(|| Method::Bearer { realm, service: parameter("service") })
            })
            .next()
    }

    async fn token(&self, method: &Method, scope: &Scope) -> Result<Token, Failure> {
        let action = "get a token";
        let credential = self.credential(scope).await?;
        let (text, lifetime) = match (method, credential) {
            (Method::Basic, Some(Credential::Basic { user, password })) => {
                let pair = BASE64.encode(format!("{user}:{}", password.expose()));
                (format!("Basic {pair}"), LONGEST)
            }
            (Method::Basic, _) => return Err(self.http.denied("read or write").into()),
            (Method::Bearer { realm, service }, credential) => {
                let answer = self.fetch(realm, service.as_deref(), credential.as_ref(), scope).await?;
                let token = answer
                    .token
                    .or(answer.access_token)
                    .ok_or_else(|| self.http.malformed(action, "it holds no token".to_owned()))?;
                let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
                (format!("Bearer {token}"), lifetime)
            }
        };
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| self.http.malformed(action, "the token is no header's value".to_owned()))?;
        header.set_sensitive(true);
        let end = Instant::now() + lifetime.min(LONGEST);
        Ok(Token { header, until: end - MARGIN.min(lifetime / 2), end, was_accepted: false })
    }

    async fn fetch(
        &self,
        realm: &Url,
        service: Option<&str>,
        credential: Option<&Credential>,
        scope: &Scope,
    ) -> Result<TokenAnswer, Failure> {
        let action = "get a token";
        let mut query: Vec<_> = service.map(|service| ("service", service)).into_iter().collect();
        let scopes = scope.texts();
        // A GET has a parameter for each; OAuth2 (RFC 6749, 3.3) has one for all.
        let joined = scopes.join(" ");
        let mut with_scopes = query.clone();
        with_scopes.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        let with_query = |query: &[(&str, &str)]| {
            let mut url = realm.clone();
            url.query_pairs_mut().extend_pairs(query);
            url
        };
        let request = match credential {
            Some(Credential::IdentityToken(token)) => {
                query.extend([("grant_type", "refresh_token"), ("client_id", "spore")]);
                query.push(("refresh_token", token.expose()));
                query.extend((!joined.is_empty()).then_some(("scope", joined.as_str())));
                let form = with_query(&query).query().unwrap_or_default().to_owned();
                let post = self.http.client().post(realm.clone());
                post.header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            Some(Credential::Basic { user, password }) => {
                self.http.client().get(with_query(&with_scopes)).basic_auth(user, Some(password.expose()))
            }
            None => self.http.client().get(with_query(&with_scopes)),
        };
        let response = self.http.send_here(request, action).await?;
        match response.status() {
            StatusCode::OK => {}
            status if leads_elsewhere(status) => {
                let reason = format!("it redirects ({status}), and credentials go nowhere but to {realm}");
                return Err(self.http.malformed(action, reason).into());
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                return Err(self.http.denied(action).into());
            }
            _ => return Err(self.http.unexpected(&response, action).into()),
        }
        let body = self.http.body(response, ANSWER_BYTES, action).await?;
        // What the parser says of it could show the token.
        serde_json::from_slice(&body)
            .map_err(|_| self.http.malformed(action, "it is no token".to_owned()).into())
    }
}
