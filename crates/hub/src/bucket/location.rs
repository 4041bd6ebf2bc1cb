//! Where a bucket is: `s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION]`.
//!
//! What the location leaves open, the AWS environment says: [`super::AwsEnvironment`].

use std::fmt;

use reqwest::Url;

/// Bytes of a prefix at most: with what a hub puts behind it, a key stays below S3's 1,024.
const PREFIX_BYTES: usize = 512;

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BucketLocation {
    pub(crate) bucket: String,
    /// What all keys there begin with, without a slash at either end.
    pub(crate) prefix: Option<String>,
    /// The service's URL, without a slash at its end. Plain HTTP is spoken only where this says so.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
}

impl BucketLocation {
    /// Reads what follows `s3://`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(rest: &str) -> Result<Self, &'static str> {
        let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, query)| (place, query));
        let place = place.strip_suffix('/').unwrap_or(place);
        let (bucket, prefix) =
            place.split_once('/').map_or((place, None), |(bucket, prefix)| (bucket, Some(prefix)));
        if !is_bucket(bucket) {
            return Err("a bucket's name has 3 to 63 characters of a-z 0-9 . - between letters or digits");
        }
        if prefix.is_some_and(|prefix| !is_prefix(prefix)) {
            return Err("a prefix in a bucket has components of A-Z a-z 0-9 . _ - joined by /");
        }
        let (mut endpoint, mut region) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let old = match pair.split_once('=') {
                Some(("endpoint", url)) => endpoint.replace(service(url)?),
                Some(("region", name)) if is_region(name) => region.replace(name.to_owned()),
                _ => return Err("behind ? there are endpoint=URL and region=NAME, joined by &"),
            };
            if old.is_some() {
                return Err("behind ? each of endpoint and region stands once");
            }
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.map(str::to_owned), endpoint, region })
    }

    /// What makes it another hub than others: regions are only ways to it.
    pub(crate) fn identity(&self) -> String {
        Self { region: None, ..self.clone() }.to_string()
    }
}

/// The URL of a service that speaks S3, in the form in which it is shown and read again.
pub(crate) fn service(text: &str) -> Result<String, &'static str> {
    const WRONG: &str =
        "an endpoint is http://HOST[:PORT] or https://HOST[:PORT], with a plain path behind it at most";
    let url = Url::parse(text).map_err(|_| WRONG)?;
    let is_plain = |path: &str| path.bytes().all(|c| c.is_ascii_alphanumeric() || b"/._-".contains(&c));
    let is_service = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && is_plain(url.path());
    if is_service { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(WRONG) }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket(text: &str) -> bool {
    let is_edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (3..=63).contains(&text.len())
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-".contains(&c))
}

fn is_prefix(text: &str) -> bool {
    let is_component = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    text.len() <= PREFIX_BYTES && text.split('/').all(is_component)
}

fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
}

impl fmt::Display for BucketLocation {
    /// In the form that [`BucketLocation::parse`] reads, `s3://` included.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s3://{}", self.bucket)?;
        self.prefix.iter().try_for_each(|prefix| write!(out, "/{prefix}"))?;
        let options = [("endpoint", &self.endpoint), ("region", &self.region)];
        let given = options.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        given
            .zip(["?", "&"])
            .try_for_each(|((name, value), separator)| write!(out, "{separator}{name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        for text in [
            "s3://hub",
            "s3://my.hub-1/team/snapshots_v0",
            "s3://hub?region=eu-central-1",
            "s3://hub/x?endpoint=http://127.0.0.1:3900&region=garage",
            "s3://hub?endpoint=https://[::1]:3900/storage/v1/s3",
        ] {
            let location = BucketLocation::parse(text.strip_prefix("s3://").unwrap()).unwrap();
            assert_eq!(location.to_string(), text);
        }
        let spelled = BucketLocation::parse("hub/?region=r&endpoint=HTTPS://S3.example:443/").unwrap();
        assert_eq!(spelled.to_string(), "s3://hub?endpoint=https://s3.example&region=r");
        assert_eq!(spelled.identity(), "s3://hub?endpoint=https://s3.example");
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        for wrong in [
            "",
            "/",
            "ab",
            "Hub",
            "-hub",
            "key:secret@hub",
            "hub//x",
            "hub/../x",
            "hub/a b",
            "hub/%41",
            "hub/~x",
            "hub?endpoint=",
            "hub?endpoint=ftp://x",
            "hub?endpoint=https://user:pass@x",
            "hub?endpoint=https://x/?a",
            "hub?region=",
            "hub?region=a&region=b",
            "hub?profile=x",
            "hub#x",
        ] {
            assert!(BucketLocation::parse(wrong).is_err(), "{wrong}");
        }
    }
}
