//! `spore doctor --fix`: what can be mended without anybody's loss, planned, shown, and then done.
//!
//! Nothing gets privileges here: what needs them is done by root, or named to who can become root.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sandbox::{Sandbox, Status, kill_all, list};
use serde::Serialize;
use store::Store;
use store::mend::{WrongMode, mend_mode, wrong_modes};

use super::checks;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::output::{self, Level};
use crate::{context, progress};

/// Something to mend.
#[derive(Debug)]
enum Fix {
    /// Install these.
    Packages(Vec<&'static str>),
    /// Give a folder the mode of a store's.
    Mode(WrongMode),
    /// Remove what is left of dead sandboxes, their logs too.
    Sandboxes(Vec<Sandbox>),
    /// Remove this many files of locks that nobody holds.
    Locks(usize),
}

impl fmt::Display for Fix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(packages) => write!(out, "install {} (apt-get)", packages.join(", ")),
            Self::Mode(WrongMode { path, mode }) => {
                write!(out, "change the mode of {} from {mode:04o} to 0700", path.display())
            }
            Self::Sandboxes(dead) => {
                let ids: Vec<_> = dead.iter().map(|sandbox| sandbox.id.as_str()).collect();
                write!(out, "remove what is left of dead sandboxes, logs too: {}", ids.join(", "))
            }
            Self::Locks(1) => out.write_str("remove 1 lock file that nobody holds"),
            Self::Locks(count) => write!(out, "remove {count} lock files that nobody holds"),
        }
    }
}

/// What was mended, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Fixed {
    dry_run: bool,
    done: Vec<String>,
}

impl fmt::Display for Fixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match (self.done.is_empty(), self.dry_run) {
            (true, _) => return writeln!(out, "nothing was mended"),
            (false, true) => "would do:",
            (false, false) => "done:",
        };
        writeln!(out, "{head}")?;
        self.done.iter().try_for_each(|done| writeln!(out, "  {done}"))
    }
}

/// Mends what can be mended.
pub(super) fn run(options: &Options, yes: bool, dry_run: bool) -> Result<Fixed, CliError> {
    // A store that does not open is reported by the checks; its folders' modes may be why.
    let store = context::store(options).ok();
    let fixes = plan(options, store.as_ref())?;
    if fixes.is_empty() || !yes && !dry_run && !agreed(&fixes)? {
        return Ok(Fixed { dry_run, done: Vec::new() });
    }
    if !dry_run {
        fixes.iter().try_for_each(|fix| apply(fix, store.as_ref(), options))?;
    }
    Ok(Fixed { dry_run, done: fixes.iter().map(ToString::to_string).collect() })
}

fn plan(options: &Options, store: Option<&Store>) -> Result<Vec<Fix>, CliError> {
    let mut fixes: Vec<_> = wrong_modes(&context::root(options)?)?.into_iter().map(Fix::Mode).collect();
    let packages = checks::missing_packages();
    if !packages.is_empty() && checks::is_root() && Path::new(APT_GET).is_file() {
        fixes.push(Fix::Packages(packages));
    }
    if let Some(store) = store {
        let mut dead = list(store)?;
        dead.retain(|sandbox| matches!(sandbox.status, Status::Dead { .. }));
        if !dead.is_empty() {
            fixes.push(Fix::Sandboxes(dead));
        }
        let locks = store.stale_locks()?;
        if locks > 0 {
            fixes.push(Fix::Locks(locks));
        }
    }
    Ok(fixes)
}

/// Asks whoever is at the terminal.
fn agreed(fixes: &[Fix]) -> Result<bool, CliError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || output::logs_json() {
        let reason = "nobody is there to be asked: give --yes, or --dry-run to see what would be done";
        return Err(CliError::Usage(reason.to_owned()));
    }
    for fix in fixes {
        output::say(Level::Info, &format!("  {fix}"));
    }
    write!(std::io::stderr(), "Do this? [y/N] ").doing("write to the terminal")?;
    let mut answer = String::new();
    stdin.read_line(&mut answer).doing("read what is typed on the terminal")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn apply(fix: &Fix, store: Option<&Store>, options: &Options) -> Result<(), CliError> {
    progress::note(options, &fix.to_string());
    match (fix, store) {
        (Fix::Packages(packages), _) => install(packages),
        (Fix::Mode(folder), _) => Ok(mend_mode(folder)?),
        (Fix::Sandboxes(dead), Some(store)) => Ok(kill_all(store, dead)?),
        (Fix::Locks(_), Some(store)) => Ok(store.remove_stale_locks()?),
        (Fix::Sandboxes(_) | Fix::Locks(_), None) => Ok(()),
    }
}

const APT_GET: &str = "/usr/bin/apt-get";

/// By apt, whose lists are fetched if it does not know a package: a new machine has none.
fn install(packages: &[&'static str]) -> Result<(), CliError> {
    let install = || apt_get(&["install", "-y", "--no-install-recommends"], packages);
    match install() {
        Ok(()) => Ok(()),
        Err(_) => apt_get(&["update"], &[]).and_then(|()| install()),
    }
}

fn apt_get(words: &[&str], packages: &[&str]) -> Result<(), CliError> {
    let mut command = Command::new(APT_GET);
    command.args(words).args(packages).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = command.output().doing(format!("run {APT_GET}"))?;
    if output.status.success() {
        return Ok(());
    }
    // What failed stands at the end.
    let said = String::from_utf8_lossy(&output.stderr);
    let end: Vec<_> = said.lines().rev().take(5).collect();
    let end: Vec<_> = end.into_iter().rev().collect();
    let line = words.iter().chain(packages).copied().collect::<Vec<_>>().join(" ");
    Err(CliError::Failed(format!("apt-get {line}: {}\n{}", output.status, end.join("\n"))))
}
