//! Problems of the store, as verbs that find some show them: what each is, what to do about it, and exit code 5.

use std::process::ExitCode;

use serde_json::{Value, json};
use store::fsck::Problem;

use crate::error::CliError;

/// For scripts.
pub(crate) fn document(problems: &[Problem]) -> Value {
    problems
        .iter()
        .map(|problem| json!({ "problem": problem.to_string(), "remedy": problem.remedy() }))
        .collect()
}

/// For people: a line for each, and its remedy below.
pub(crate) fn text(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n  {}\n", problem.remedy())).collect()
}

/// How a verb ends that has shown them.
pub(crate) fn verdict(problems: &[Problem]) -> Result<ExitCode, CliError> {
    match problems.len() {
        0 => Ok(ExitCode::SUCCESS),
        1 => Err(CliError::Verification("1 problem found".to_owned())),
        count => Err(CliError::Verification(format!("{count} problems found"))),
    }
}
