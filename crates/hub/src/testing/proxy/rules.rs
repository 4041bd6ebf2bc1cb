//! What is to go wrong with which requests, and what was seen of requests.

use std::net::SocketAddr;

use crate::testing::head::{Head, header};

/// What goes wrong with a request. Offsets count bytes of the body, without the framing of chunks; a body that has no
/// byte at the offset passes as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered here, at once; the server does not see it. `Content-Length` is added.
    Answer {
        /// The status, 200 to 599.
        status: u16,
        /// Header fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The request is answered with 307 and the same path at another address; the server does not see it.
    Redirect {
        /// Host and port of an HTTP server.
        to: SocketAddr,
    },
    /// The server does not learn that only a range was asked for: it sends all, with 200.
    IgnoreRange,
    /// The server sees the head and so much of the body, then the connection is dropped.
    CutRequest {
        /// Bytes.
        after: u64,
    },
    /// The server does what was asked, and the connection is dropped when it answers.
    LoseAnswer,
    /// One bit of the answer's body is changed.
    CorruptAnswer {
        /// Offset of the byte.
        at: u64,
    },
    /// The client sees the answer's head, which promises the whole body, and so much of the body. Then the
    /// connection is dropped.
    TruncateAnswer {
        /// Bytes.
        after: u64,
    },
    /// As before, but the connection stays open and nothing more comes.
    StallAnswer {
        /// Bytes.
        after: u64,
    },
}

impl Fault {
    /// An answer without a body.
    #[must_use]
    pub fn answer(status: u16, headers: &[(&str, &str)]) -> Self {
        Self::answer_with(status, headers, "")
    }

    /// An answer with this body.
    #[must_use]
    pub fn answer_with(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::Answer { status, headers: headers.iter().map(owned).collect(), body: body.to_owned() }
    }
}

/// A fault, and which requests it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    method: Option<String>,
    path_prefix: String,
    skip: u32,
    times: u32,
    fault: Fault,
}

impl Rule {
    /// The next request, whatever it is.
    #[must_use]
    pub fn once(fault: Fault) -> Self {
        Self::times(1, fault)
    }

    /// The next `times` requests.
    #[must_use]
    pub fn times(times: u32, fault: Fault) -> Self {
        Self { method: None, path_prefix: String::new(), skip: 0, times, fault }
    }

    /// All requests.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self::times(u32::MAX, fault)
    }

    /// Only of those with this method, in capitals, and a path that starts so. The path is what stands in the
    /// request, a query included.
    #[must_use]
    pub fn on(mut self, method: &str, path_prefix: &str) -> Self {
        self.method = Some(method.to_owned());
        path_prefix.clone_into(&mut self.path_prefix);
        self
    }

    /// Lets the first `count` of those pass.
    #[must_use]
    pub fn after(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// The fault, if it is for this request, which then counts as one of its times.
    pub(super) fn take(&mut self, seen: &SeenRequest) -> Option<Fault> {
        let method = self.method.as_deref().unwrap_or(&seen.method);
        if !seen.is(method, &self.path_prefix) || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.times < u32::MAX {
            self.times -= 1;
        }
        Some(self.fault.clone())
    }
}

/// The head of a request that reached the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// In capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header fields in their order and spelling.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    pub(super) fn of(head: &Head) -> Self {
        Self { method: head.word(0).to_owned(), path: head.word(1).to_owned(), headers: head.headers.clone() }
    }

    /// Whether it has this method and a path that starts so.
    #[must_use]
    pub fn is(&self, method: &str, path_prefix: &str) -> bool {
        self.method == method && self.path.starts_with(path_prefix)
    }

    /// The value of the first header field of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}
