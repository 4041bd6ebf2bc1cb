//! What the AWS environment says of an S3 service: credentials, region, endpoint. As AWS's own tools read it, in their order.
//!
//! ```text
//! AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//! the profile AWS_PROFILE, else default, of ~/.aws/credentials and ~/.aws/config
//! AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN
//! AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
//! the metadata service of an EC2 machine, on machines that say that they are one
//! nobody: what is public can be read
//! ```
//!
//! Not known: profiles that lead elsewhere (`role_arn`, `sso_…`, `credential_process`); `aws configure export-credentials`
//! makes variables of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use object_store::aws::AmazonS3ConfigKey;

use super::identity::Identity;
use super::profile::{self, Profile};
use crate::credentials::CredentialError;

/// Every variable that is heeded.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "HOME",
];

/// Where an EC2 machine says what it is.
const VENDOR_FILE: &str = "/sys/class/dmi/id/sys_vendor";
const VENDOR: &str = "Amazon EC2";

/// Where services are that do not say a region; of those that do, AWS's first one.
const DEFAULT_REGION: &str = "us-east-1";

/// The variables that tools for AWS read. The default has none: nobody, who reads what is public.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    variables: BTreeMap<&'static str, String>,
    is_ec2: bool,
}

/// What an S3 client is told.
pub(super) struct Settings {
    pub(super) endpoint: Option<String>,
    pub(super) region: String,
    pub(super) identity: Identity,
}

impl AwsEnvironment {
    /// This process's variables and machine.
    #[must_use]
    pub fn from_environment() -> Self {
        let set = |name: &&'static str| Some((*name, std::env::var(name).ok()?));
        let vendor = std::fs::read_to_string(VENDOR_FILE).unwrap_or_default();
        Self { is_ec2: vendor.trim() == VENDOR, ..Self::from_variables(VARIABLES.iter().filter_map(set)) }
    }

    /// These variables, on a machine that is none of AWS's. Those that nobody heeds are left out.
    #[must_use]
    pub fn from_variables<'a>(variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let known = |(name, value): (&str, String)| {
            let name = VARIABLES.iter().find(|known| **known == name)?;
            (!value.is_empty()).then_some((*name, value))
        };
        Self { variables: variables.into_iter().filter_map(known).collect(), is_ec2: false }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// What the environment says. Files are read.
    pub(super) fn settings(&self) -> Result<Settings, CredentialError> {
        let profile = self.profile()?;
        let owned = |name| self.get(name).map(str::to_owned);
        let endpoint = owned("AWS_ENDPOINT_URL_S3").or_else(|| owned("AWS_ENDPOINT_URL"));
        let region = owned("AWS_REGION").or_else(|| owned("AWS_DEFAULT_REGION"));
        Ok(Settings {
            endpoint: endpoint.or_else(|| profile.get("endpoint_url").map(str::to_owned)),
            region: region
                .or_else(|| profile.get("region").map(str::to_owned))
                .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            identity: self.identity(&profile)?,
        })
    }

    fn identity(&self, profile: &Profile) -> Result<Identity, CredentialError> {
        if let Some(id) = self.get("AWS_ACCESS_KEY_ID") {
            let secret = self.get("AWS_SECRET_ACCESS_KEY").ok_or(CredentialError::HalfAKey)?;
            let token = self.get("AWS_SESSION_TOKEN").map(str::to_owned);
            return Ok(Identity::Keys { id: id.to_owned(), secret: secret.to_owned(), token });
        }
        if let Some(keys) = profile.keys()? {
            return Ok(keys);
        }
        let option = |key, name| Some((key, self.get(name)?.to_owned()));
        let fetched = [
            vec![
                option(AmazonS3ConfigKey::WebIdentityTokenFile, "AWS_WEB_IDENTITY_TOKEN_FILE"),
                option(AmazonS3ConfigKey::RoleArn, "AWS_ROLE_ARN"),
            ],
            vec![option(
                AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            )],
            vec![
                option(AmazonS3ConfigKey::ContainerCredentialsFullUri, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                option(
                    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                ),
            ],
        ];
        let complete =
            fetched.into_iter().find_map(|options| options.into_iter().collect::<Option<Vec<_>>>());
        if let Some(mut options) = complete {
            options.extend(option(AmazonS3ConfigKey::RoleSessionName, "AWS_ROLE_SESSION_NAME"));
            return Ok(Identity::Fetched(options));
        }
        let is_disabled = self.get("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text == "true");
        Ok(if self.is_ec2 && !is_disabled { Identity::Fetched(Vec::new()) } else { Identity::Nobody })
    }

    /// What both files say of the profile. Of one that somebody named there must be something.
    fn profile(&self) -> Result<Profile, CredentialError> {
        let named = self.get("AWS_PROFILE");
        let mut profile = Profile::new(named.unwrap_or("default"));
        let files = [
            (self.file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile::Kind::Credentials),
            (self.file("AWS_CONFIG_FILE", "config"), profile::Kind::Config),
        ];
        for (path, kind) in files {
            if let Some(path) = path {
                profile.add(&path, &read(&path)?, kind);
            }
        }
        match named {
            Some(name) if !profile.is_there() => Err(CredentialError::NoProfile { name: name.to_owned() }),
            _ => Ok(profile),
        }
    }

    fn file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        let home = || self.get("HOME").map(|home| Path::new(home).join(".aws").join(name));
        self.get(variable).map(PathBuf::from).or_else(home)
    }
}

/// The file's text; none where it is not there.
fn read(path: &Path) -> Result<String, CredentialError> {
    use std::io::Read as _;
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(profile::FILE_BYTES).read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    };
    match read() {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(CredentialError::Io { path: path.to_owned(), action: "read", source }),
    }
}

impl fmt::Debug for AwsEnvironment {
    /// Names alone: values are secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AwsEnvironment({:?})", self.variables.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&'static str, &str)]) -> AwsEnvironment {
        AwsEnvironment::from_variables(variables.iter().map(|(name, value)| (*name, (*value).to_owned())))
    }

    fn key_of(environment: &AwsEnvironment) -> Option<String> {
        match environment.settings().unwrap().identity {
            Identity::Keys { id, .. } => Some(id),
            Identity::Fetched(_) | Identity::Nobody => None,
        }
    }

    #[test]
    fn the_first_that_says_who_asks_decides() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        write(
            "credentials",
            "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n[team]\naws_access_key_id=TEAM\naws_secret_access_key=s\n",
        );
        write(
            "config",
            "[default]\nregion = eu-west-1\n[profile team]\nregion = eu-north-1\nendpoint_url = https://s3.team\n",
        );
        let home = home.path().to_str().unwrap();
        let keys = [("AWS_ACCESS_KEY_ID", "VARIABLE"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let with = |more: &[(&'static str, &str)]| environment(&[&[("HOME", home)], more].concat());
        assert_eq!(key_of(&with(&keys)).as_deref(), Some("VARIABLE"));
        assert_eq!(key_of(&with(&[])).as_deref(), Some("DEFAULT"));
        let team = with(&[("AWS_PROFILE", "team")]);
        assert_eq!(key_of(&team).as_deref(), Some("TEAM"));
        let settings = team.settings().unwrap();
        assert_eq!(
            (settings.region.as_str(), settings.endpoint.as_deref()),
            ("eu-north-1", Some("https://s3.team"))
        );
        let settings = with(&[("AWS_REGION", "r"), ("AWS_ENDPOINT_URL", "https://x")]).settings().unwrap();
        assert_eq!((settings.region.as_str(), settings.endpoint.as_deref()), ("r", Some("https://x")));
        let error = with(&[("AWS_PROFILE", "other")]).settings().err().unwrap();
        assert!(error.to_string().contains("other"), "{error}");
    }

    #[test]
    fn without_keys_they_are_fetched_or_nobody_asks() {
        let fetched =
            |variables: &[(&'static str, &str)]| match environment(variables).settings().unwrap().identity {
                Identity::Fetched(options) => Some(options.len()),
                Identity::Keys { .. } | Identity::Nobody => None,
            };
        assert_eq!(fetched(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")]), Some(2));
        assert_eq!(fetched(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")]), Some(1));
        assert_eq!(fetched(&[("AWS_ROLE_ARN", "r")]), None);
        let mut ec2 = environment(&[]);
        ec2.is_ec2 = true;
        assert!(matches!(ec2.settings().unwrap().identity, Identity::Fetched(_)));
        ec2.variables.insert("AWS_EC2_METADATA_DISABLED", "true".to_owned());
        assert!(ec2.settings().unwrap().identity.is_nobody());
        assert!(environment(&[("AWS_ACCESS_KEY_ID", "x")]).settings().is_err());
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?}", environment(&[("AWS_SECRET_ACCESS_KEY", "hush")]));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
