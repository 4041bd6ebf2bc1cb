//! A request's URL with its signature in the query: AWS Signature Version 4.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>; its example is a test here. Ours,
//! since the S3 client's own does not sign a length, and `aws-sigv4` brings a dozen crates along.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use object_store::aws::AwsCredential;
use reqwest::Url;
use ring::{digest, hmac};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The body's checksum is among the signed headers instead.
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const SERVICE: &str = "s3";

/// Signs a request that is made once the signature is there.
pub(super) struct Presigner<'a> {
    pub(super) credential: &'a AwsCredential,
    pub(super) region: &'a str,
    pub(super) now: Timestamp,
    pub(super) lifetime: Duration,
}

impl Presigner<'_> {
    /// The URL for a request with this method and these headers, whose names are in lower case. `url` has no query and a
    /// path of which all but letters, digits and `-._~/` is encoded.
    pub(super) fn sign(&self, method: &str, mut url: Url, headers: &[(&str, String)]) -> Url {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.trim())).collect();
        headers.push(("host", &host));
        headers.sort_unstable();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let time = self.now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/{}/{SERVICE}/aws4_request", self.now.strftime("%Y%m%d"), self.region);
        let credential = format!("{}/{scope}", self.credential.key_id);
        let lifetime = self.lifetime.as_secs().to_string();
        let mut query = vec![
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &time),
            ("X-Amz-Expires", &lifetime),
            ("X-Amz-SignedHeaders", &names),
        ];
        // It sorts behind Date and Expires and before SignedHeaders.
        if let Some(token) = &self.credential.token {
            query.insert(4, ("X-Amz-Security-Token", token));
        }
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let query = query.join("&");
        let mut canonical = format!("{method}\n{}\n{query}\n", url.path());
        for (name, value) in &headers {
            canonical.extend([name, ":", value, "\n"]);
        }
        canonical.extend(["\n", &names, "\n", PAYLOAD]);
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let signature = self.signature(&format!("{ALGORITHM}\n{time}\n{scope}\n{hash}"));
        url.set_query(Some(&format!("{query}&X-Amz-Signature={signature}")));
        url
    }

    fn signature(&self, text: &str) -> String {
        let date = self.now.strftime("%Y%m%d").to_string();
        let secret = format!("AWS4{}", self.credential.secret_key);
        let key = [date.as_str(), self.region, SERVICE, "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part));
        hex(&mac(&key, text))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 3986, with slashes encoded too.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the source.
    #[test]
    fn the_published_example_comes_out() {
        let credential = AwsCredential {
            key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let presigner = Presigner {
            credential: &credential,
            region: "us-east-1",
            now: "2013-05-24T00:00:00Z".parse().unwrap(),
            lifetime: Duration::from_secs(86400),
        };
        let url = "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap();
        assert_eq!(
            presigner.sign("GET", url, &[]).as_str(),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn all_but_what_is_safe_is_encoded() {
        assert_eq!(encode("sha256:a/b c+~"), "sha256%3Aa%2Fb%20c%2B~");
    }
}
