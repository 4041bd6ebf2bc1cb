//! Lists of tags and names, a page at a time.

use format::Name;
use hub::Registry;
use hub::dir::DirHub;
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LINK};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::answer::{Answer, Code, Refusal, answer, full};

/// Most entries of a page.
const PAGE: usize = 1000;

pub(crate) async fn tags(hub: &DirHub, name: &Name, query: &str) -> Result<Answer, Refusal> {
    let tags = hub.tags(name).await?;
    if tags.is_empty() && !hub.names().await?.contains(name) {
        return Err(Refusal::absent(Code::NameUnknown, format!("there is no {name}")));
    }
    let page = Page::of(tags.iter().map(ToString::to_string), query)?;
    page.answer(&json!({ "name": name, "tags": page.entries }), &format!("/v2/{name}/tags/list"))
}

pub(crate) async fn names(hub: &DirHub, query: &str) -> Result<Answer, Refusal> {
    let page = Page::of(hub.names().await?.iter().map(ToString::to_string), query)?;
    page.answer(&json!({ "repositories": page.entries }), "/v2/_catalog")
}

/// The value of a parameter of a query.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    entries: Vec<String>,
    /// The query for the next one.
    next: Option<String>,
}

impl Page {
    /// At most `n` of all entries, in order, behind `last`.
    fn of(all: impl Iterator<Item = String>, query: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::bad(Code::Unsupported, "n is no number");
        let count = match parameter(query, "n") {
            Some(text) => text.parse::<usize>().map_err(|_| wrong())?.min(PAGE),
            None => PAGE,
        };
        let last = parameter(query, "last");
        let mut all: Vec<_> = all.filter(|entry| last.as_ref().is_none_or(|last| entry > last)).collect();
        all.sort_unstable();
        let is_all = all.len() <= count;
        all.truncate(count);
        let next = all.last().filter(|_| !is_all).map(|last| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("n", &count.to_string()).append_pair("last", last);
            query.finish()
        });
        Ok(Self { entries: all, next })
    }

    fn answer(&self, document: &Value, path: &str) -> Result<Answer, Refusal> {
        let body = document.to_string();
        let headers =
            [(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_LENGTH, body.len().to_string())];
        let mut answer = answer(StatusCode::OK, headers, full(body))?;
        let link = self.next.as_ref().map(|query| format!("<{path}?{query}>; rel=\"next\""));
        if let Some(Ok(link)) = link.map(|link| HeaderValue::from_str(&link)) {
            answer.headers_mut().insert(LINK, link);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let all = || ["a", "b", "c", "d", "e"].map(str::to_owned).into_iter();
        let (mut query, mut seen) = ("n=2".to_owned(), Vec::new());
        loop {
            let page = Page::of(all(), &query).unwrap();
            assert!(page.entries.len() <= 2);
            seen.extend(page.entries);
            let Some(next) = page.next else { break };
            query = next;
        }
        assert_eq!(seen, all().collect::<Vec<_>>());
        assert_eq!(Page::of(all(), "n=0").unwrap().entries, [""; 0]);
        assert_eq!(Page::of(all(), "last=c").unwrap().entries, ["d", "e"]);
        assert_eq!(Page::of(all(), "n=5").unwrap().next, None);
        assert!(Page::of(all(), "n=x").is_err());
    }
}
