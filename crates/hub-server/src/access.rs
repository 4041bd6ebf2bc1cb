//! Who may do what.
//!
//! | | no tokens | tokens |
//! |---|---|---|
//! | read | everybody who can connect | a token with `pull`, or for what it may push; everybody, if the hub is public |
//! | push | everybody who can connect, on loopback only | a token, in its namespaces |
//! | delete | nobody | a token with `delete`, in its namespaces |
//!
//! A server that only reads takes nothing from anybody. Without tokens, a browser on this machine must not be led by a web
//! page to write here: such requests name another host, or say which page they come from, and are refused.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use format::Name;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};

use crate::answer::{Code, Refusal};
use crate::tokens::{Entry, Tokens};

/// Who may do what.
#[derive(Debug, Default)]
pub struct Policy {
    /// The tokens, if there are any; without them the server may listen on loopback only, unless it only reads.
    pub tokens: Option<Tokens>,
    /// Whether everybody may read, though there are tokens.
    pub is_public: bool,
    /// Whether nothing can be put or deleted.
    pub is_read_only: bool,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Who has no token.
    Anybody,
    /// Who has this one.
    Holder(Arc<Entry>),
}

impl Caller {
    /// The token's name.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Holder(entry) => Some(&entry.name),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    /// To be known, where that counts.
    Enter,
    /// To read what belongs to no name, or to this one.
    Read(Option<&'a Name>),
    /// To put into a name.
    Push(&'a Name),
    /// To delete from a name.
    Delete(&'a Name),
}

impl Policy {
    /// Whether nobody has to say who they are, and anybody can write: only this machine may ask then.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_none() && !self.is_read_only
    }

    /// Who asks. A token that is wrong is refused, also where none is needed: its owner believes that it is right.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let (Some(tokens), Some(header)) = (&self.tokens, headers.get(AUTHORIZATION)) else {
            return Ok(Caller::Anybody);
        };
        match presented(header) {
            // Some clients say in this way that they have nothing to say.
            Some(token) if token.is_empty() => Ok(Caller::Anybody),
            Some(token) => match tokens.find(&token) {
                Some(entry) => Ok(Caller::Holder(entry)),
                None => Err(unauthorized("this token is not known here")),
            },
            None => Err(unauthorized("expected a token, as Basic password or as Bearer")),
        }
    }

    /// Refuses what `caller` may not do.
    pub(crate) fn check(&self, caller: &Caller, right: Right<'_>) -> Result<(), Refusal> {
        let is_write = matches!(right, Right::Push(_) | Right::Delete(_));
        if is_write && self.is_read_only {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::Unsupported,
                "this server only gives out",
            ));
        }
        let is_allowed = match (caller, right) {
            (Caller::Anybody, _) if self.tokens.is_none() => !matches!(right, Right::Delete(_)),
            (Caller::Anybody, Right::Read(_)) => self.is_public,
            (Caller::Anybody, Right::Enter | Right::Push(_) | Right::Delete(_)) => false,
            (Caller::Holder(_), Right::Enter) => true,
            (Caller::Holder(entry), Right::Read(name)) => {
                entry.pull || self.is_public || name.is_some_and(|name| may_push(entry, name))
            }
            (Caller::Holder(entry), Right::Push(name)) => may_push(entry, name),
            (Caller::Holder(entry), Right::Delete(name)) => entry.delete && may_push(entry, name),
        };
        match (is_allowed, caller) {
            (true, _) => Ok(()),
            (false, Caller::Anybody) if self.tokens.is_some() => {
                Err(unauthorized("a token is needed: `spore login`, with it as the password"))
            }
            (false, _) => {
                let what = match right {
                    Right::Enter | Right::Read(_) => "read this".to_owned(),
                    Right::Push(name) => format!("push to {name}"),
                    Right::Delete(name) => format!("delete from {name}"),
                };
                let message = match caller.name() {
                    Some(name) => format!("the token {name} may not {what}"),
                    None => format!("without a token nobody may {what}"),
                };
                Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, message))
            }
        }
    }

    /// Refuses what a web page may have made a browser of this machine send.
    pub(crate) fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.is_open() {
            return Ok(());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if is_loopback(host) && (reads || !headers.contains_key(ORIGIN)) {
            return Ok(());
        }
        let message = "without tokens this server is for programs of this machine alone, as localhost";
        Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, message))
    }
}

fn may_push(entry: &Entry, name: &Name) -> bool {
    entry.push.iter().any(|namespace| namespace.holds(name))
}

fn unauthorized(message: &str) -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message);
    refusal.with(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"spore hub\", charset=\"UTF-8\""))
}

/// The token in an `Authorization` header (RFC 7617, RFC 6750). Users of Basic may have any name.
fn presented(header: &HeaderValue) -> Option<String> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(rest.trim()).ok())??;
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Whether a `Host` header names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn web_pages_do_not_write() {
        let open = Policy::default();
        let check = |method, pairs: &[(hyper::header::HeaderName, &str)]| {
            open.check_origin(&method, &headers(pairs)).is_ok()
        };
        for host in ["localhost:5000", "LOCALHOST", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(check(Method::PUT, &[(HOST, host)]), "{host}");
            assert!(!check(Method::POST, &[(HOST, host), (ORIGIN, "https://evil.example")]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"] {
            assert!(!check(Method::GET, &[(HOST, host)]), "{host}");
        }
        let read_only = Policy { is_read_only: true, ..Policy::default() };
        read_only.check_origin(&Method::GET, &headers(&[(HOST, "hub.example")])).unwrap();
    }

    #[test]
    fn a_token_comes_as_basic_or_bearer() {
        let of = |text: &str| presented(&text.parse().unwrap());
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("basic YTpiOmM=").as_deref(), Some("b:c"));
        assert_eq!(of("Basic Og==").as_deref(), Some(""));
        for wrong in ["Basic !", "Basic YQ==", "Digest x", "abc", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
