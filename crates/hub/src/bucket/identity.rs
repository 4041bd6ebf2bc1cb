//! Who asks a store, and how its client learns that.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Whose requests they are.
pub(super) enum Identity {
    Keys {
        id: String,
        secret: String,
        token: Option<String>,
    },
    /// As these options of the S3 client say.
    Fetched(Vec<(AmazonS3ConfigKey, String)>),
    Nobody,
}

impl Identity {
    pub(super) fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    pub(super) fn apply(self, builder: AmazonS3Builder) -> AmazonS3Builder {
        match self {
            Self::Keys { id, secret, token } => {
                let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                match token {
                    Some(token) => builder.with_token(token),
                    None => builder,
                }
            }
            Self::Fetched(options) => {
                options.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value))
            }
            Self::Nobody => builder.with_skip_signature(true),
        }
    }
}
