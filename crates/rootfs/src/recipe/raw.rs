//! `recipe.toml` as it is written, before anything is checked that concerns more than one value.
//!
//! Unknown keys are errors. Defaults that depend on nothing else are here.

use std::collections::BTreeMap;

use format::{Name, Tag};
use serde::Deserialize;

use super::values::{
    Component, EnvironmentName, GuestPath, Mirror, Mode, Owner, PackageName, Size, Suite, TimeSpan,
};
use super::{Runner, Variant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) name: Name,
    pub(super) version: Tag,
    pub(super) description: Option<String>,
    pub(super) licenses: Option<String>,
    pub(super) base: Base,
    #[serde(default)]
    pub(super) files: Vec<FileEntry>,
    #[serde(default)]
    pub(super) build: Build,
    #[serde(default)]
    pub(super) machine: Machine,
    #[serde(default)]
    pub(super) kernel: Kernel,
    #[serde(default)]
    pub(super) environment: BTreeMap<EnvironmentName, String>,
    pub(super) warm: Option<Warm>,
    pub(super) on_fork: Option<OnFork>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) debian: Option<Suite>,
    pub(super) variant: Option<Variant>,
    pub(super) packages: Option<Vec<PackageName>>,
    pub(super) components: Option<Vec<Component>>,
    pub(super) mirror: Option<Mirror>,
    pub(super) security_mirror: Option<Mirror>,
    pub(super) directories: Option<Vec<String>>,
    pub(super) image: Option<String>,
    pub(super) tar: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) source: String,
    pub(super) destination: GuestPath,
    pub(super) mode: Option<Mode>,
    #[serde(default)]
    pub(super) owner: Owner,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Build {
    pub(super) commands: Vec<String>,
    pub(super) network: bool,
    pub(super) timeout: TimeSpan,
}

impl Default for Build {
    fn default() -> Self {
        Self { commands: Vec::new(), network: false, timeout: TimeSpan::seconds(600) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Machine {
    pub(super) vcpus: u8,
    pub(super) memory: Size,
    pub(super) disk: Size,
    pub(super) init_on_free: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self { vcpus: 1, memory: Size::mib(512), disk: Size::mib(1024), init_on_free: true }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    pub(super) debian: Option<Suite>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Warm {
    pub(super) command: Option<Vec<String>>,
    pub(super) runner: Option<Runner>,
    pub(super) script: Option<String>,
    pub(super) user: Option<String>,
    pub(super) cwd: Option<GuestPath>,
    #[serde(default)]
    pub(super) ready: Ready,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ready {
    pub(super) runner: Option<bool>,
    pub(super) command: Option<Vec<String>>,
    pub(super) file: Option<GuestPath>,
    pub(super) deadline: TimeSpan,
}

impl Default for Ready {
    fn default() -> Self {
        Self { runner: None, command: None, file: None, deadline: TimeSpan::seconds(60) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnFork {
    pub(super) command: Vec<String>,
    #[serde(default = "fork_deadline")]
    pub(super) deadline: TimeSpan,
}

fn fork_deadline() -> TimeSpan {
    TimeSpan::seconds(10)
}
