//! Where a server may send us instead.
//!
//! To another origin (scheme, host and port) goes what is asked for, and nothing of who asks: of the headers those alone
//! that [`HARMLESS`] names, whatever credentials others carry. Only GET and HEAD are redirected: a body may be a credential,
//! and says what to do to whom it was meant for.

use reqwest::header::{ACCEPT, HeaderName, LOCATION, RANGE};
use reqwest::{Method, Request, Response, StatusCode};

/// What another origin is told.
const HARMLESS: &[HeaderName] = &[ACCEPT, RANGE];

/// The same request, if it may be redirected.
pub(super) fn repeatable(request: &Request) -> Option<Request> {
    let only_asks = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_none();
    if only_asks { request.try_clone() } else { None }
}

/// What to ask for next in place of `request`; `None` if this is the answer to it.
///
/// # Errors
/// Where nobody should go, as "it …".
pub(super) fn next(mut request: Request, answer: &Response) -> Result<Option<Request>, &'static str> {
    let location = answer.headers().get(LOCATION).filter(|_| leads_elsewhere(answer.status()));
    let Some(location) = location else { return Ok(None) };
    let url = location.to_str().ok().and_then(|location| request.url().join(location).ok());
    let mut url = url
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("it redirects to what is no URL of HTTP")?;
    if request.url().scheme() == "https" && url.scheme() != "https" {
        return Err("it redirects from https to plain http");
    }
    // It fails for URLs without a host, which those of HTTP have.
    let _ = (url.set_username(""), url.set_password(None));
    if url.origin() != request.url().origin() {
        let headers = request.headers_mut();
        let told = HARMLESS.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        *headers = told.collect();
    }
    *request.url_mut() = url;
    Ok(Some(request))
}

/// Whether a status says that something else should be asked for.
pub(crate) fn leads_elsewhere(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
