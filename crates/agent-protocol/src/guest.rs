//! The guest's configuration: what the builder of an initrd tells the agent in it.
//!
//! Builder and agent come from one release, so the reader is strict: an unknown field is a mistake.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Hostname;

/// The version of [`GuestConfig`] that this crate reads.
pub const GUEST_CONFIG_VERSION: u32 = 1;
/// Most bytes of a guest configuration.
pub const GUEST_CONFIG_MAX: usize = 1024 * 1024;
/// Where it lies in the initrd.
pub const GUEST_CONFIG_PATH: &str = "/spore/guest.json";
/// Folder of the initrd whose files the agent copies to [`RUN_DIR`].
pub const RUNNERS_DIR: &str = "/spore/runners";
/// The agent's own folder in the running guest.
pub const RUN_DIR: &str = "/run/spore";
/// Most layer disks.
pub const MAX_LAYERS: u8 = 12;

/// What the agent needs to know about its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// [`GUEST_CONFIG_VERSION`].
    pub version: u32,
    /// Absolute paths in the initrd of uncompressed kernel modules, in load order.
    pub modules: Vec<String>,
    /// How many layer disks there are, 1 to [`MAX_LAYERS`], with virtio serials `layer0` (lowest) and up.
    pub layers: u8,
    /// Whether there is an ext4 disk with serial `writable`; else changes live in memory.
    pub writable: bool,
    /// Whether layers carry `user.overlay.*` attributes instead of `trusted.overlay.*`.
    #[serde(default)]
    pub userxattr: bool,
    /// Until the first identity.
    pub hostname: Hostname,
    /// Environment of the warm process, of `on_fork` and of every exec.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Default user: `USER[:GROUP]`, each by name or number; absent: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Default working directory; absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The address of the network card, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The process that a snapshot keeps warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Warm>,
    /// What to run at every identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fork: Option<OnFork>,
}

/// A command that is run at every identity, before the guest counts as another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnFork {
    /// Program and arguments; not empty.
    pub argv: Vec<String>,
    /// Milliseconds that it may take, at least 1; the identity's own deadline may be shorter.
    pub deadline_ms: u64,
}

/// Static IPv4 configuration. The link stays down until an identity raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits, 0 to 32.
    pub prefix: u8,
    /// Default route.
    pub gateway: Ipv4Addr,
    /// Name server.
    pub dns: Ipv4Addr,
}

/// The warm process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warm {
    /// Program and arguments; not empty.
    pub argv: Vec<String>,
    /// Added to [`GuestConfig::env`].
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Instead of [`GuestConfig::user`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Instead of [`GuestConfig::cwd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// When it counts as ready.
    pub ready: Ready,
    /// Whether it is a runner, which evaluates code.
    #[serde(default)]
    pub eval: bool,
}

/// When a warm process counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ready {
    /// It is a runner and says so.
    Runner,
    /// A command exits with code 0.
    Command {
        /// Program and arguments; not empty.
        argv: Vec<String>,
        /// Milliseconds from the end of one try to the next, at least 1.
        interval_ms: u64,
    },
    /// A file exists.
    File {
        /// Absolute.
        path: String,
    },
}

/// Why a guest configuration was refused.
#[derive(Debug, Error)]
pub enum GuestConfigError {
    /// Too large to be one.
    #[error("the guest configuration has {0} bytes, at most {GUEST_CONFIG_MAX} are allowed")]
    TooLong(usize),
    /// Not the JSON it should be.
    #[error("the guest configuration is invalid: {0}")]
    Json(#[from] serde_json::Error),
    /// Written for another release.
    #[error(
        "the guest configuration has version {0}, this agent reads {GUEST_CONFIG_VERSION}: build the initrd again"
    )]
    Version(u32),
    /// A value that makes no sense.
    #[error("the guest configuration's `{field}` must be {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl GuestConfig {
    /// Parses and checks the file's content.
    ///
    /// # Errors
    /// Whatever breaks a bound that the fields state, by name.
    pub fn parse(bytes: &[u8]) -> Result<Self, GuestConfigError> {
        /// The version is read alone first: another one may have other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if bytes.len() > GUEST_CONFIG_MAX {
            return Err(GuestConfigError::TooLong(bytes.len()));
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != GUEST_CONFIG_VERSION {
            return Err(GuestConfigError::Version(version));
        }
        let config: Self = serde_json::from_slice(bytes)?;
        config.check()?;
        Ok(config)
    }

    /// Checks the bounds that the types do not state. Builders call it before they write.
    ///
    /// # Errors
    /// [`GuestConfigError::Value`] for the first field out of bounds.
    pub fn check(&self) -> Result<(), GuestConfigError> {
        let absolute = |path: &String| path.starts_with('/') && !path.contains('\0');
        let command = |argv: &Vec<String>| argv.first().is_some_and(|program| !program.is_empty());
        let warm_ready = self.warm.as_ref().map(|warm| (&warm.ready, warm.eval));
        let (probe, interval, file) = match warm_ready {
            Some((Ready::Command { argv, interval_ms }, _)) => (command(argv), *interval_ms > 0, true),
            Some((Ready::File { path }, _)) => (true, true, absolute(path)),
            _ => (true, true, true),
        };
        let runner = warm_ready.is_none_or(|(ready, eval)| eval || *ready != Ready::Runner);
        let rules = [
            (self.modules.iter().all(absolute), "modules", "absolute paths"),
            ((1..=MAX_LAYERS).contains(&self.layers), "layers", "1 to 12"),
            (self.network.is_none_or(|network| network.prefix <= 32), "network.prefix", "0 to 32"),
            (self.cwd.iter().all(absolute), "cwd", "an absolute path"),
            (self.warm.iter().all(|warm| command(&warm.argv)), "warm.argv", "a program and its arguments"),
            (self.warm.iter().all(|warm| warm.cwd.iter().all(absolute)), "warm.cwd", "an absolute path"),
            (
                self.on_fork.iter().all(|run| command(&run.argv)),
                "on_fork.argv",
                "a program and its arguments",
            ),
            (self.on_fork.iter().all(|run| run.deadline_ms > 0), "on_fork.deadline_ms", "at least 1"),
            (probe, "warm.ready.command.argv", "a program and its arguments"),
            (interval, "warm.ready.command.interval_ms", "at least 1"),
            (file, "warm.ready.file.path", "an absolute path"),
            (runner, "warm.eval", "true when `warm.ready` is `runner`"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected)) => Err(GuestConfigError::Value { field, expected }),
            None => Ok(()),
        }
    }
}
