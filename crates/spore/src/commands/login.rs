//! `spore login`

use std::io::Read;
use std::process::ExitCode;

use clap::Args;
use hub::credentials::{Credential, Credentials, Secret};
use hub::oci::OciLocation;
use serde_json::json;

use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{hubs, interrupt, output};

mod terminal;

use terminal::Terminal;

/// Longer than any password or token that registries give out, in bytes.
const MAX_SECRET: u64 = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore login registry.example                           asks for user and password
  echo $TOKEN | spore login --username ci --password-stdin registry.example:5000
  spore login --username me oci+http://registry.lan:5000 a registry without TLS

The login is tried first, and kept only if the registry takes it: where podman and docker keep theirs, in the first of
$REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json and ~/.docker/config.json, or
in the credential helper that this file names. A file holds the password readably, for its owner alone.")]
pub(crate) struct LoginArgs {
    /// The registry: HOST[:PORT]
    registry: String,
    /// Who logs in [default: asked for]
    #[arg(long, short, value_name = "USER")]
    username: Option<String>,
    /// Read the password or token from standard input instead of asking for it
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

pub(crate) fn run(options: &Options, args: &LoginArgs) -> Result<ExitCode, CliError> {
    let location = registry(&args.registry)?;
    let registry = location.host().as_str();
    let credentials = Credentials::from_environment();
    // Before anybody is asked for a password in vain.
    credentials.file()?;
    let (user, password) = identify(args)?;
    let credential = Credential::Basic { user: user.clone(), password };
    let access = hubs::access()?;
    interrupt::block_on(async {
        let checked = hub::oci::check_login(&location, &credential, &access).await;
        checked.map_err(|error| CliError::of_login(error, registry, &user))
    })?;
    let file = credentials.store(registry, &credential)?;
    let document = json!({ "registry": registry, "username": user, "file": file });
    output::result(options.format, &document, || {
        format!("logged in to {registry} as {user}: kept in {}, or the helper that it names", file.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// The registry that somebody typed. What they typed is not repeated: a URL can hold a password.
pub(super) fn registry(text: &str) -> Result<OciLocation, CliError> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("oci", text));
    match OciLocation::parse(scheme, rest) {
        Some(Ok(location)) if location.prefix().is_none() => Ok(location),
        _ => Err(CliError::Usage(
            "expected a registry as HOST or HOST:PORT, after oci+http:// if it is without TLS: a login is for all of it"
                .into(),
        )),
    }
}

/// User and password, from where the arguments say.
fn identify(args: &LoginArgs) -> Result<(String, Secret), CliError> {
    if let (true, Some(user)) = (args.password_stdin, &args.username) {
        return Ok((user.clone(), password_from(std::io::stdin())?));
    }
    let terminal = Terminal::open().map_err(|error| {
        CliError::Usage(format!(
            "there is no terminal to ask for a password on ({error}): give --username and --password-stdin"
        ))
    })?;
    let user = match &args.username {
        Some(user) => user.clone(),
        None => terminal.ask("Username: ")?,
    };
    let password = Secret::new(terminal.ask_unseen("Password: ")?);
    Ok((user, password))
}

/// All of `input`, less the newline that `echo` and files end with.
fn password_from(input: impl Read) -> Result<Secret, CliError> {
    let mut text = String::new();
    input.take(MAX_SECRET + 1).read_to_string(&mut text).doing("read a password from standard input")?;
    if text.len() as u64 > MAX_SECRET {
        return Err(CliError::Usage(format!(
            "expected a password of at most {MAX_SECRET} bytes on standard input"
        )));
    }
    match line(&text) {
        "" => Err(CliError::Usage("expected a password on standard input, and it is empty".into())),
        password => Ok(Secret::new(password)),
    }
}

/// `text` without its last newline.
fn line(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host() {
        for (text, host) in [
            ("hub.example", "hub.example"),
            ("localhost:5000", "localhost:5000"),
            ("oci+http://hub.lan:5000", "hub.lan:5000"),
        ] {
            assert_eq!(registry(text).unwrap().host().as_str(), host);
        }
        for text in
            ["", "https://hub.example", "s3cret@hub.example", "hub.example/s3cret", "oci://s3cret:x@h"]
        {
            let error = registry(text).unwrap_err();
            assert!(matches!(&error, CliError::Usage(text) if !text.contains("s3cret")), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_ends_before_its_newline() {
        for (input, password) in
            [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" \n", " ")]
        {
            assert_eq!(password_from(input.as_bytes()).unwrap().expose(), password);
        }
        let long = "x".repeat(64 << 10);
        assert_eq!(password_from(long.as_bytes()).unwrap().expose(), long);
        for input in [String::new(), "\n".into(), long + "x"] {
            assert!(matches!(password_from(input.as_bytes()), Err(CliError::Usage(_))));
        }
    }
}
