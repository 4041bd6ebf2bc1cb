//! Lists that a registry gives in pages: tags, names, referrers.
//!
//! Source: OCI distribution-spec v1.1, "Listing Tags" and "Listing Referrers"; `_catalog` is distribution's own.

use format::{Name, Tag};
use reqwest::Url;
use reqwest::header::LINK;
use serde::Deserialize;

use super::auth::Scope;
use super::{ANSWER_BYTES, OciHub};
use crate::HubError;

/// Most pages of a list: a registry that always names a next one is not followed for ever.
const PAGES: usize = 10_000;
/// Most bytes of all pages of a list.
const LIST_BYTES: usize = 64 << 20;

#[derive(Deserialize)]
struct Tags {
    // Some answer null where there are none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

impl OciHub {
    /// All pages of a list that begins at `first`; `None` if there is no such list.
    pub(super) async fn pages<T: for<'a> Deserialize<'a>>(
        &self,
        first: Url,
        scope: &Scope,
        action: &str,
    ) -> Result<Option<Vec<T>>, HubError> {
        let (mut pages, mut bytes, mut next) = (Vec::new(), 0, Some(first));
        while let Some(url) = next.take() {
            let request = || Ok(self.http.client().get(url.clone()));
            let Some((headers, body)) = self.small(scope, action, ANSWER_BYTES, request).await? else {
                return Ok(None);
            };
            let link = headers.get(LINK).and_then(|link| link.to_str().ok()).and_then(next_page);
            next =
                link.and_then(|link| url.join(&link).ok()).filter(|url| url.origin() == self.base.origin());
            bytes += body.len();
            let page = serde_json::from_slice(&body);
            pages.push(page.map_err(|error| self.http.malformed(action, error.to_string()))?);
            if pages.len() > PAGES || bytes > LIST_BYTES {
                let reason = format!("it has more than {PAGES} pages or {LIST_BYTES} bytes");
                return Err(self.http.malformed(action, reason));
            }
        }
        Ok(Some(pages))
    }

    pub(super) async fn list_tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        let url = self.url(name, "tags/list?n=1000")?;
        let pages = self.pages::<Tags>(url, &self.pull_scope(name), "list tags").await?.unwrap_or_default();
        let mut tags: Vec<Tag> = pages
            .into_iter()
            .filter_map(|page| page.tags)
            .flatten()
            .filter_map(|tag| tag.parse().ok())
            .collect();
        tags.sort();
        Ok(tags)
    }

    pub(super) async fn list_names(&self) -> Result<Vec<Name>, HubError> {
        let unsupported =
            || HubError::Unsupported { hub: self.location.to_string(), action: "list names".to_owned() };
        let url = self.base.join("_catalog?n=1000").map_err(|_| unsupported())?;
        let scope = Scope { kind: "registry", name: "catalog".to_owned(), actions: "*", source: None };
        let pages = match self.pages::<Repositories>(url, &scope, "list names").await {
            Ok(Some(pages)) => pages,
            // The specification has no such list; many registries show it to nobody.
            Ok(None) | Err(HubError::Denied { .. } | HubError::Malformed { .. }) => return Err(unsupported()),
            Err(error) => return Err(error),
        };
        let all = pages.into_iter().filter_map(|page| page.repositories).flatten();
        let below = all.filter_map(|repository| match &self.prefix {
            Some(prefix) => repository.strip_prefix(prefix.as_str())?.strip_prefix('/')?.parse().ok(),
            None => repository.parse().ok(),
        });
        let mut names: Vec<Name> = below.collect();
        names.sort();
        Ok(names)
    }
}

/// RFC 8288, as the distribution-spec uses it: `</v2/_catalog?last=x>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let parameter = parameter.replace(['"', ' '], "");
        parameter.eq_ignore_ascii_case("rel=next")
    });
    is_next.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_next_pages_only() {
        assert_eq!(
            next_page(r#"</v2/_catalog?last=x&n=1>; rel="next""#).as_deref(),
            Some("/v2/_catalog?last=x&n=1")
        );
        assert_eq!(next_page("</v2/a>;rel=next").as_deref(), Some("/v2/a"));
        for none in [r#"</v2/a>; rel="prev""#, "/v2/a; rel=next", "</v2/a", ""] {
            assert_eq!(next_page(none), None, "{none}");
        }
    }
}
