//! `spore doctor`

use std::process::ExitCode;

use clap::Args;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::output;

mod checks;
mod fix;

use checks::Report;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore doctor
  spore doctor --fix --dry-run
  spore doctor --fix --yes

The exit code is 0 if what running forks needs is there, and 1 otherwise; what only baking needs does not count.

--fix mends what this user can mend, and says what it did: it installs missing packages (as root, by apt), gives the
store's folders their modes back, and removes what dead sandboxes and unused locks have left. It asks before, unless
--yes is given. For the rest, the report says the command.")]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended
    #[arg(long)]
    fix: bool,
    /// Do not ask
    #[arg(long, short, requires = "fix")]
    yes: bool,
    /// Only show what would be mended
    #[arg(long, requires = "fix")]
    dry_run: bool,
}

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

/// How something is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    /// By a shell's command.
    Command(String),
    /// By what this says.
    Advice(String),
}

impl Remedy {
    fn as_str(&self) -> &str {
        match self {
            Self::Command(text) | Self::Advice(text) => text,
        }
    }

    /// Indented, and no wider than a terminal: a command that is cut off can still be copied.
    fn text(&self) -> String {
        const WIDTH: usize = 72;
        let Self::Command(command) = self else { return format!("    {}", self.as_str()) };
        let mut lines = vec![String::new()];
        for word in command.split(' ') {
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(word),
                Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(format!("  {word}")),
            }
        }
        format!("    {}", lines.join(" \\\n    "))
    }
}

impl Serialize for Remedy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
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
    remedy: Option<Remedy>,
}

pub(crate) fn run(options: &Options, args: &DoctorArgs) -> Result<ExitCode, CliError> {
    let fixed = if args.fix { Some(fix::run(options, args.yes, args.dry_run)?) } else { None };
    let report = checks::report(options);
    let document = json!({
        "ready_to_fork": is_ready(&report.checks),
        "checks": report.checks,
        "fix": fixed,
    });
    output::result(options.format, &document, || {
        let fixed = fixed.as_ref().map(|fixed| format!("{fixed}\n")).unwrap_or_default();
        fixed + &text(&report)
    });
    if is_ready(&report.checks) {
        return Ok(ExitCode::SUCCESS);
    }
    let lacking: Vec<_> = lacking(&report.checks).map(|check| check.name.as_str()).collect();
    Err(CliError::Failed(format!("forks cannot run here until this is mended: {}", lacking.join(", "))))
}

fn lacking(checks: &[Check]) -> impl Iterator<Item = &Check> {
    checks.iter().filter(|check| check.for_forks && check.state == State::Missing)
}

fn is_ready(checks: &[Check]) -> bool {
    lacking(checks).next().is_none()
}

fn text(report: &Report) -> String {
    let state = |state| match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Missing => "MISSING",
    };
    let row = |check: &Check| {
        vec![state(check.state).into(), check.name.clone(), check.purpose.to_owned(), check.found.clone()]
    };
    let rows: Vec<_> = report.checks.iter().map(row).collect();
    let mut text = output::table(&["STATE", "WHAT", "FOR", "FOUND"], &rows);
    for check in &report.checks {
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("\n{}: {}\n{}\n", check.name, check.found, remedy.text()));
        }
    }
    if report.packages.len() > 1 {
        let all = checks::apt(&report.packages);
        text.push_str(&format!("\nall missing packages at once:\n{}\n", all.text()));
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

    #[test]
    fn a_command_that_is_wider_than_a_terminal_is_still_one_command() {
        let command = Remedy::Command(format!("sudo apt-get install{}", " some-package".repeat(9)));
        let text = command.text();
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(shlex_words(&text), command.as_str().split(' ').collect::<Vec<_>>());
    }

    /// The words of a command as a shell takes it.
    fn shlex_words(text: &str) -> Vec<String> {
        text.replace("\\\n", " ").split_whitespace().map(str::to_owned).collect()
    }
}
