//! `spore config`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::config::{Config, Source};
use crate::error::CliError;
use crate::options::{FORMAT_VARIABLE, LOG_FORMAT_VARIABLE, Options, QUIET_VARIABLE, ROOT_VARIABLE};
use crate::{context, environment, log, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore config
  SPORE_CONFIG=/etc/spore.toml spore config --format json

The file is $SPORE_CONFIG, else $XDG_CONFIG_HOME/spore/config.toml, else
~/.config/spore/config.toml. Variables override it, and flags override both.
Each key but default_hub and hubs stands for the variable beside it:

  default_hub = \"acme\"         SPORE_DEFAULT_HUB: an alias, a path, a URL
  root = \"/srv/spore\"          SPORE_ROOT, --root
  format = \"text\"              SPORE_FORMAT, --format: or json
  quiet = false                SPORE_QUIET, --quiet
  log = \"hub=debug\"            SPORE_LOG: what is logged
  log_format = \"text\"          SPORE_LOG_FORMAT, --log-format: or json
  ca_file = \"/etc/lan.pem\"     SPORE_CA_FILE: authorities hubs may have, too
  qemu = \"/opt/qemu/bin/…\"     SPORE_QEMU: the engine
  qemu_data = [\"/opt/…\"]       SPORE_QEMU_DATA: its data, colons between
  accel = \"tcg\"                SPORE_ACCEL: or kvm, whatever the host has
  debian_mirror = \"http://…\"   SPORE_DEBIAN_MIRROR: where bakes fetch from
  debian_security_mirror = \"http://…\"   SPORE_DEBIAN_SECURITY_MIRROR

  [hubs]
  acme = \"/srv/hub\"
  team = [\"oci://hub.example/team\", \"/mnt/mirror\"]   a hub, its mirrors")]
pub(crate) struct ConfigArgs {}

/// Settings without a flag: their keys, and their variables.
const UNFLAGGED: [(&str, &str); 7] = [
    ("log", log::FILTER_VARIABLE),
    ("ca_file", "SPORE_CA_FILE"),
    ("qemu", "SPORE_QEMU"),
    ("qemu_data", "SPORE_QEMU_DATA"),
    ("accel", "SPORE_ACCEL"),
    ("debian_mirror", "SPORE_DEBIAN_MIRROR"),
    ("debian_security_mirror", "SPORE_DEBIAN_SECURITY_MIRROR"),
];

/// A value and where it comes from.
struct Setting {
    name: String,
    value: Option<String>,
    source: Source,
}

impl Setting {
    fn new(name: &str, value: Option<String>, source: Source) -> Self {
        Self { name: name.to_owned(), value: value.map(|value| without_credentials(&value)), source }
    }
}

pub(crate) fn run(options: &Options, _: &ConfigArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let mut settings = of_every_verb(options)?;
    settings.extend(UNFLAGGED.map(|(name, variable)| {
        let value = environment::variable(variable).map(|value| value.to_string_lossy().into_owned());
        Setting::new(name, value, source(None, variable))
    }));
    let (hub, from) =
        config.default_hub.clone().map_or((None, Source::Default), |(hub, from)| (Some(hub), from));
    settings.push(Setting::new("default_hub", hub, from));
    for (alias, locations) in &config.hubs {
        let value =
            locations.all().map(|location| without_credentials(location)).collect::<Vec<_>>().join(", ");
        settings.push(Setting::new(
            &format!("hubs.{}", String::from(alias.clone())),
            Some(value),
            Source::File,
        ));
    }
    let file = config.path.as_ref().map(|path| path.display().to_string());
    let values: Vec<_> = settings
        .iter()
        .map(|one| json!({ "name": one.name, "value": one.value, "from": one.source.to_string() }))
        .collect();
    let document = json!({ "file": file, "file_exists": config.is_there, "settings": values });
    output::result(options.format, &document, || {
        let absent = if config.is_there { "" } else { " (not there)" };
        let row = |one: &Setting| {
            vec![one.name.clone(), one.value.clone().unwrap_or_else(|| "-".into()), one.source.to_string()]
        };
        let rows: Vec<_> = settings.iter().map(row).collect();
        format!("{}{absent}\n{}", config.place(), output::table(&["SETTING", "VALUE", "FROM"], &rows))
    });
    Ok(ExitCode::SUCCESS)
}

/// What every verb takes.
fn of_every_verb(options: &Options) -> Result<Vec<Setting>, CliError> {
    let flags = &options.flags;
    let flag = |is_set: bool, name| is_set.then_some(name);
    let root = context::root(options)?.display().to_string();
    let choice = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    Ok(vec![
        Setting::new("root", Some(root), source(flag(flags.root.is_some(), "--root"), ROOT_VARIABLE)),
        Setting::new(
            "format",
            choice(options.format.to_possible_value()),
            source(flag(flags.format.is_some(), "--format"), FORMAT_VARIABLE),
        ),
        Setting::new(
            "quiet",
            Some(options.quiet.to_string()),
            source(flag(flags.quiet, "--quiet"), QUIET_VARIABLE),
        ),
        Setting::new(
            "log_format",
            choice(options.log_format.to_possible_value()),
            source(flag(flags.log_format.is_some(), "--log-format"), LOG_FORMAT_VARIABLE),
        ),
    ])
}

fn source(flag: Option<&'static str>, variable: &'static str) -> Source {
    match (flag, environment::said(variable)) {
        (Some(flag), _) => Source::Flag(flag),
        (None, Some((_, said))) => Source::of(said, variable),
        (None, None) => Source::Default,
    }
}

/// A location without the user and password that may be in it: what is shown here is pasted into reports.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credentials_are_shown() {
        for (text, shown) in [
            ("http://me:pa@ss@deb.example/debian", "http://***@deb.example/debian"),
            ("https://token@deb.example", "https://***@deb.example"),
            ("http://deb.example/a@b", "http://deb.example/a@b"),
            ("/srv/a@b", "/srv/a@b"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
