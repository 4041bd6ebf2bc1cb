//! Heads of HTTP/1.1 messages, as far as servers for tests need them.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Bytes of a head that are read at most.
const MAX_HEAD: usize = 64 << 10;

/// The first line and the header fields, in their order and spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first_line: String,
    pub(super) headers: Vec<(String, String)>,
}

/// How the end of a message's body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads one head; none where the peer has closed before its first byte.
    pub(super) async fn read(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let mut text = String::new();
        let mut lines = Vec::new();
        loop {
            let start = text.len();
            input.read_line(&mut text).await?;
            let line = text.get(start..).unwrap_or_default();
            if line.is_empty() && start == 0 {
                return Ok(None);
            }
            if !line.ends_with('\n') || text.len() > MAX_HEAD {
                return Err(io::Error::other(format!("a head of HTTP that ends in {line:?}")));
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut lines = lines.into_iter();
        let first_line = lines.next().unwrap_or_default();
        let headers = lines.filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        });
        Ok(Some(Self { first_line, headers: headers.collect() }))
    }

    /// The value of the first field of this name, in whatever case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The word of the first line at `index`: method and target of a request, version and status of an answer.
    pub(super) fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or_default()
    }

    pub(super) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }

    pub(super) fn body_of_request(&self) -> Body {
        self.declared_body().unwrap_or(Body::Length(0))
    }

    /// `method` is that of the request.
    pub(super) fn body_of_answer(&self, method: &str) -> Body {
        if method == "HEAD" || matches!(self.status(), 100..200 | 204 | 304) {
            return Body::Length(0);
        }
        self.declared_body().unwrap_or(Body::UntilClose)
    }

    fn declared_body(&self) -> Option<Body> {
        let coding = self.header("transfer-encoding").unwrap_or_default();
        if coding.to_ascii_lowercase().contains("chunked") {
            return Some(Body::Chunked);
        }
        self.header("content-length")?.parse().ok().map(Body::Length)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first_line);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
