//! `spore config`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::config::{Config, Source};
use crate::error::CliError;
use crate::options::{Format, Options};
use crate::{context, environment, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore config
  SPORE_CONFIG=/etc/spore.toml spore config --format json

The file is $SPORE_CONFIG, else $XDG_CONFIG_HOME/spore/config.toml, else ~/.config/spore/config.toml:

  default_hub = \"acme\"       an alias, an absolute path, s3://… or oci://…

  [hubs]
  acme = \"/srv/hub\"
  team = [\"oci://hub.example/team\", \"/mnt/mirror\"]      a hub, then its mirrors

Variables override the file, and flags override both:

  SPORE_CONFIG                  the file
  SPORE_DEFAULT_HUB             as default_hub
  SPORE_ROOT, SPORE_FORMAT      as --root, --format
  SPORE_CA_FILE                 PEM file of authorities that hubs may have, besides the system's
  SPORE_QEMU, SPORE_QEMU_DATA   the engine, and the folders of its data, with colons between them
  SPORE_ACCEL                   tcg or kvm, whatever the host has
  SPORE_DEBIAN_MIRROR, SPORE_DEBIAN_SECURITY_MIRROR      where bakes fetch packages
  SPORE_LOG                     what is logged, such as hub=debug")]
pub(crate) struct ConfigArgs {}

/// Variables that stand for no flag and no key of the file.
const VARIABLES: [&str; 7] = [
    "SPORE_CA_FILE",
    "SPORE_QEMU",
    "SPORE_QEMU_DATA",
    "SPORE_ACCEL",
    "SPORE_DEBIAN_MIRROR",
    "SPORE_DEBIAN_SECURITY_MIRROR",
    "SPORE_LOG",
];

/// A value and where it comes from.
struct Setting {
    name: String,
    value: Option<String>,
    source: Source,
}

pub(crate) fn run(options: &Options, _: &ConfigArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let mut settings = vec![root(options)?, format_setting(options)];
    let (hub, source) = match &config.default_hub {
        Some((hub, source)) => (Some(hub.clone()), source.clone()),
        None => (None, Source::Default),
    };
    settings.push(Setting { name: "default_hub".into(), value: hub, source });
    for (alias, locations) in &config.hubs {
        let name = format!("hubs.{}", String::from(alias.clone()));
        let value = locations.all().map(String::as_str).collect::<Vec<_>>().join(", ");
        settings.push(Setting { name, value: Some(value), source: Source::File });
    }
    settings.extend(VARIABLES.map(variable));
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

fn root(options: &Options) -> Result<Setting, CliError> {
    let source = match &options.root {
        None => Source::Default,
        Some(root) if std::env::var_os("SPORE_ROOT").is_some_and(|set| set == *root) => {
            Source::Variable("SPORE_ROOT")
        }
        Some(_) => Source::Flag("--root"),
    };
    Ok(Setting { name: "root".into(), value: Some(context::root(options)?.display().to_string()), source })
}

fn format_setting(options: &Options) -> Setting {
    let value = options.format.to_possible_value().map(|value| value.get_name().to_owned());
    let source = if std::env::var("SPORE_FORMAT").ok() == value {
        Source::Variable("SPORE_FORMAT")
    } else if options.format == Format::default() {
        Source::Default
    } else {
        Source::Flag("--format")
    };
    Setting { name: "format".into(), value, source }
}

fn variable(name: &'static str) -> Setting {
    let value = environment::variable(name);
    let source = if value.is_some() { Source::Variable(name) } else { Source::Default };
    Setting { name: name.into(), value: value.map(|value| value.to_string_lossy().into_owned()), source }
}
