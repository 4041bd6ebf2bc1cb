//! One request: who asks, what for, whether they may, and who does it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hub::dir::DirHub;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};

use crate::access::{Caller, Policy, Right};
use crate::answer::{Answer, Refusal, answer, full};
use crate::lists;
use crate::options::Limits;
use crate::pull::Reading;
use crate::push::Writing;
use crate::receive::Receiver;
use crate::space::Space;
use crate::target::Target;
use crate::uploads::Sessions;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const READS: &str = "GET, HEAD";

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) hub: DirHub,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) space: Arc<Space>,
    /// None on a server that only reads.
    pub(crate) sessions: Option<Sessions>,
}

impl Service {
    /// Answers a request, whatever it is.
    pub(crate) async fn answer(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Infallible> {
        let start = Instant::now();
        let (head, body) = request.into_parts();
        let mut body = Receiver::new(body, &self.limits);
        let caller = self.policy.identify(&head.headers);
        let token = caller.as_ref().ok().and_then(Caller::name).unwrap_or("-").to_owned();
        let done = match caller {
            Ok(caller) => self.perform(&head, &caller, &mut body).await,
            Err(refusal) => Err(refusal),
        };
        let (method, path) = (&head.method, format::excerpt(head.uri.path()));
        let mut answer = match done {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::debug!(%peer, "{}", refusal.message());
                body.discard().await;
                refusal.into_answer()
            }
        };
        // What others have put is not looked into for something that a browser would run.
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let (status, millis) = (answer.status().as_u16(), start.elapsed().as_millis());
        tracing::info!(%peer, token, %method, path, status, millis);
        Ok(answer)
    }

    async fn perform(&self, head: &Parts, caller: &Caller, body: &mut Receiver) -> Result<Answer, Refusal> {
        self.policy.check_origin(&head.method, &head.headers)?;
        let target = Target::parse(head.uri.path())?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if is_read && !matches!(target, Target::Uploads(_) | Target::Upload(..)) {
            return self.read(head, caller, &target).await;
        }
        self.write(head, caller, &target, body).await
    }

    async fn read(&self, head: &Parts, caller: &Caller, target: &Target) -> Result<Answer, Refusal> {
        let right = match target {
            Target::Api => Right::Enter,
            Target::Tags(name) | Target::Manifest(name, _) | Target::Blob(Some(name), _) => {
                Right::Read(Some(name))
            }
            _ => Right::Read(None),
        };
        self.policy.check(caller, right)?;
        let query = head.uri.query().unwrap_or_default();
        let reading = Reading { hub: &self.hub, method: &head.method, headers: &head.headers };
        match target {
            Target::Api => ping(),
            Target::Catalog => lists::names(&self.hub, query).await,
            Target::Tags(name) => lists::tags(&self.hub, name, query).await,
            Target::Manifest(name, which) => reading.manifest(name, which).await,
            Target::Blob(_, digest) => reading.blob(digest).await,
            Target::Top(which) => reading.top(*which).await,
            Target::Uploads(_) | Target::Upload(..) => Err(Refusal::method("POST")),
        }
    }

    async fn write(
        &self,
        head: &Parts,
        caller: &Caller,
        target: &Target,
        body: &mut Receiver,
    ) -> Result<Answer, Refusal> {
        let (Target::Uploads(name) | Target::Upload(name, _) | Target::Manifest(name, _)) = target else {
            return Err(Refusal::method(READS));
        };
        let is_delete = head.method == Method::DELETE && matches!(target, Target::Manifest(..));
        let right = if is_delete { Right::Delete(name) } else { Right::Push(name) };
        self.policy.check(caller, right)?;
        let Some(sessions) = &self.sessions else { return Err(Refusal::method(READS)) };
        let query = head.uri.query().unwrap_or_default();
        let Self { hub, policy, space, .. } = self;
        let headers = &head.headers;
        let writing = Writing { hub, policy, space, sessions, caller, name, query, headers };
        match (target, head.method.as_str()) {
            (Target::Uploads(_), "POST") => writing.begin(body).await,
            (Target::Uploads(_), _) => Err(Refusal::method("POST")),
            (Target::Upload(_, id), "PATCH") => writing.append(id, body).await,
            (Target::Upload(_, id), "PUT") => writing.end(id, body).await,
            (Target::Upload(_, id), "GET") => writing.progress(id),
            (Target::Upload(_, id), "DELETE") => writing.cancel(id),
            (Target::Manifest(_, which), "PUT") => writing.manifest(which, body).await,
            (Target::Manifest(_, which), "DELETE") => writing.delete(which).await,
            _ => Err(Refusal::method("GET, HEAD, PUT, PATCH, DELETE")),
        }
    }
}

fn ping() -> Result<Answer, Refusal> {
    let headers = [(API_VERSION, "registry/2.0".to_owned()), (CONTENT_LENGTH, "2".to_owned())];
    answer(StatusCode::OK, headers, full("{}"))
}
