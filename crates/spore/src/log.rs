//! Diagnostics of the libraries, on standard error: what `SPORE_LOG` asks for, in the form that `--log-format` says.

use std::ffi::OsString;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::environment::variable;
use crate::error::CliError;
use crate::options::LOG_FORMAT_VARIABLE;
use crate::output::{self, Format, LogFormat};

/// Names what is logged, in the syntax of `EnvFilter`.
pub(crate) const FILTER_VARIABLE: &str = "SPORE_LOG";

/// Decides the form of all that is said on standard error, and starts what is asked for, or else what `verb` is watched
/// by. JSON has warnings at least.
///
/// # Errors
/// If what is asked for cannot be understood.
pub(crate) fn start(format: LogFormat, verb: Option<&str>) -> Result<(), CliError> {
    output::log_as(format);
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| output::error(&panic.to_string(), "panic", Format::Text)));
    }
    let asked = variable(FILTER_VARIABLE).map(|filter| filter.to_string_lossy().into_owned());
    let unasked = || match (verb, format) {
        (Some(verb), LogFormat::Json) => Some(format!("warn,{verb}")),
        (Some(verb), LogFormat::Text) => Some(verb.to_owned()),
        (None, LogFormat::Json) => Some("warn".to_owned()),
        (None, LogFormat::Text) => None,
    };
    let Some(filter) = asked.or_else(unasked) else { return Ok(()) };
    let filter = EnvFilter::try_new(&filter)
        .map_err(|reason| CliError::Usage(format!("{FILTER_VARIABLE} is {filter:?}: {reason}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text => lines.with_ansi(wants_color()).init(),
    }
    Ok(())
}

/// The form that arguments ask for which may not be understood otherwise: what is wrong with them is said in it, too.
pub(crate) fn expected_format(mut arguments: impl Iterator<Item = OsString>) -> LogFormat {
    let mut typed = None;
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        match argument.to_str() {
            Some("--log-format") => typed = arguments.next(),
            Some(text) => typed = text.strip_prefix("--log-format=").map(OsString::from).or(typed),
            None => {}
        }
    }
    let said = typed.or_else(|| variable(LOG_FORMAT_VARIABLE));
    if said.is_some_and(|said| said == "json") { LogFormat::Json } else { LogFormat::Text }
}

/// As <https://no-color.org> and <https://bixense.com/clicolors> have it.
fn wants_color() -> bool {
    let is_forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    variable("NO_COLOR").is_none() && (is_forced || std::io::stderr().is_terminal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_errors_about_arguments_is_found_in_them() {
        let found = |line: &str| expected_format(line.split(' ').map(OsString::from));
        assert_eq!(found("spore --log-format json nonsense"), LogFormat::Json);
        assert_eq!(found("spore nonsense --log-format=json"), LogFormat::Json);
        assert_eq!(found("spore exec id -- x --log-format json"), LogFormat::Text);
        assert_eq!(found("spore --log-format json --log-format text"), LogFormat::Text);
    }
}
