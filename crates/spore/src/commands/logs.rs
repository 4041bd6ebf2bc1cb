//! `spore logs`

mod log;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sandbox::{Status, find};
use serde_json::json;
use store::{SandboxId, Store};

use self::log::{Continuity, Log};
use self::show::{Lines, Printer, Show};
use crate::error::CliError;
use crate::options::Options;
use crate::output::Format;
use crate::{context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore logs ID                   all of them, each under its name
  spore logs ID --console -n 20   the last lines that the guest wrote to its console
  spore logs ID -f                and what is written from then on, until the sandbox ends
  spore logs ID -f --format json  a JSON object for each line: {\"log\":\"console\",\"line\":\"...\"}

A dead sandbox keeps its logs until it is killed or pruned. They hold what the guest wrote, as it wrote it.")]
pub(crate) struct LogsArgs {
    /// The sandbox, or how its id begins
    id: String,
    /// Only the guest's console
    #[arg(long, conflicts_with_all = ["engine", "supervisor"])]
    console: bool,
    /// Only what the engine said
    #[arg(long, conflicts_with = "supervisor")]
    engine: bool,
    /// Only what the supervisor said
    #[arg(long)]
    supervisor: bool,
    /// Only the last N lines of each
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Go on with what is written from then on, until the sandbox ends
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(options: &Options, args: &LogsArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let sandbox = find(&store, &args.id)?;
    let folder = store.sandbox_path(&sandbox.id);
    let all = !(args.console || args.engine || args.supervisor);
    let logs = [
        ("console", engine::CONSOLE_LOG, args.console),
        ("engine", engine::ENGINE_LOG, args.engine),
        ("supervisor", sandbox::SUPERVISOR_LOG, args.supervisor),
    ];
    let logs = logs.into_iter().filter(|(_, _, is_wanted)| *is_wanted || all);
    let mut logs: Vec<_> = logs.map(|(name, file, _)| Log::new(name, folder.join(file))).collect();
    if let Some(lines) = args.lines {
        logs.iter_mut().try_for_each(|log| log.skip_to_last_lines(lines))?;
    }
    match (args.follow, options.format) {
        (false, Format::Json) => {
            let mut document = serde_json::Map::new();
            for log in &mut logs {
                let mut bytes = Vec::new();
                log.read_on(&mut |more| bytes.extend_from_slice(more))?;
                if log.is_there() {
                    document.insert(log.name().to_owned(), String::from_utf8_lossy(&bytes).into());
                }
            }
            let document = json!({ "id": sandbox.id.as_str(), "logs": document });
            output::result(options.format, &document, String::new);
        }
        (false, Format::Text) => print(&mut logs, &mut Printer::new(all))?,
        (true, Format::Json) => follow(&store, &sandbox.id, &mut logs, &mut Lines::default())?,
        (true, Format::Text) => follow(&store, &sandbox.id, &mut logs, &mut Printer::new(all))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what is in the logs and was not shown yet.
fn print(logs: &mut [Log], shown: &mut impl Show) -> Result<(), CliError> {
    for log in logs {
        let name = log.name();
        match log.read_on(&mut |bytes| shown.show(name, bytes))? {
            Continuity::Whole => {}
            Continuity::Cut => output::say(
                output::Level::Info,
                &format!("the {name} log was cut at its beginning; what is shown goes on where it was"),
            ),
            Continuity::Lost => output::warning(&format!(
                "the {name} log was cut at its beginning, and with it what was shown last: lines are missing here"
            )),
        }
    }
    Ok(())
}

/// Shows what is appended to logs, until the sandbox has ended.
fn follow(store: &Store, id: &SandboxId, logs: &mut [Log], shown: &mut impl Show) -> Result<(), CliError> {
    /// How often a log is looked at for more.
    const INTERVAL: Duration = Duration::from_millis(200);
    loop {
        // Looked at first: what was written before the end is there by then.
        let has_ended =
            find(store, id.as_str()).map_or(true, |sandbox| matches!(sandbox.status, Status::Dead { .. }));
        print(logs, shown)?;
        if has_ended {
            shown.end();
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}
