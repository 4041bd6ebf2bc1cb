//! `spore doctor`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::output;

mod checks;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore doctor
  spore doctor --format json

The exit code is 0 if what running forks needs is there, and 1 otherwise; what only baking needs does not count.")]
pub(crate) struct DoctorArgs {}

/// How it stands with a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, but less well than it could.
    Warning,
    /// What needs it does not work.
    Missing,
}

/// A requirement and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: String,
    state: State,
    /// Whether forks need it; otherwise only bakes do.
    for_forks: bool,
    purpose: &'static str,
    found: String,
    /// How to mend it, where there is something to mend.
    remedy: Option<String>,
}

pub(crate) fn run(options: &Options, _: &DoctorArgs) -> Result<ExitCode, CliError> {
    let checks = checks::all(options);
    let packages = checks::packages();
    let document = json!({ "ready_to_fork": is_ready(&checks), "checks": checks });
    output::result(options.format, &document, || text(&checks, &packages));
    if is_ready(&checks) {
        return Ok(ExitCode::SUCCESS);
    }
    let lacking: Vec<_> = lacking(&checks).map(|check| check.name.as_str()).collect();
    Err(CliError::Failed(format!("forks cannot run here until this is mended: {}", lacking.join(", "))))
}

fn lacking(checks: &[Check]) -> impl Iterator<Item = &Check> {
    checks.iter().filter(|check| check.for_forks && check.state == State::Missing)
}

fn is_ready(checks: &[Check]) -> bool {
    lacking(checks).next().is_none()
}

fn text(checks: &[Check], packages: &[&str]) -> String {
    let state = |state| match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Missing => "MISSING",
    };
    let row = |check: &Check| {
        vec![state(check.state).into(), check.name.clone(), check.purpose.to_owned(), check.found.clone()]
    };
    let rows: Vec<_> = checks.iter().map(row).collect();
    let mut text = output::table(&["STATE", "WHAT", "FOR", "FOUND"], &rows);
    for check in checks {
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("\n{}: {}\n  {remedy}\n", check.name, check.found));
        }
    }
    if packages.len() > 1 {
        text.push_str(&format!("\nall missing packages at once:\n  {}\n", checks::apt(packages)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_forks_need_decides() {
        let check = |for_forks, state| Check {
            name: "x".into(),
            state,
            for_forks,
            purpose: "",
            found: String::new(),
            remedy: None,
        };
        assert!(is_ready(&[
            check(true, State::Ok),
            check(true, State::Warning),
            check(false, State::Missing)
        ]));
        assert!(!is_ready(&[check(true, State::Ok), check(true, State::Missing)]));
    }
}
