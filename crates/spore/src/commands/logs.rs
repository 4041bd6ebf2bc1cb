//! `spore logs`

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sandbox::{Status, find};
use serde_json::json;
use store::{SandboxId, Store};

use crate::error::{CliError, Doing};
use crate::options::{Format, Options};
use crate::{context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore logs ID                   all of them, each under its name
  spore logs ID --console -n 20   the last lines that the guest wrote to its console
  spore logs ID -f                and what is written from then on, until the sandbox ends

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

/// How often a log is looked at for more.
const INTERVAL: Duration = Duration::from_millis(200);

pub(crate) fn run(options: &Options, args: &LogsArgs) -> Result<ExitCode, CliError> {
    if args.follow && options.format == Format::Json {
        return Err(CliError::Usage(
            "--follow has no end that a JSON document could have: leave one out".into(),
        ));
    }
    let store = context::store(options)?;
    let sandbox = find(&store, &args.id)?;
    let folder = store.sandbox_path(&sandbox.id);
    let all = !(args.console || args.engine || args.supervisor);
    let logs = [
        ("console", engine::CONSOLE_LOG, args.console),
        ("engine", engine::ENGINE_LOG, args.engine),
        ("supervisor", sandbox::SUPERVISOR_LOG, args.supervisor),
    ];
    let mut document = serde_json::Map::new();
    let mut followed = Vec::new();
    for (name, file, is_wanted) in logs {
        if !(is_wanted || all) {
            continue;
        }
        let path = folder.join(file);
        let mut log = match File::open(&path) {
            Ok(log) => log,
            // Whoever would write it never began.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).doing(format!("open {}", path.display())),
        };
        if let Some(lines) = args.lines {
            seek_to_last_lines(&mut log, lines).doing(format!("read {}", path.display()))?;
        }
        if options.format == Format::Json {
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).doing(format!("read {}", path.display()))?;
            document.insert(name.to_owned(), String::from_utf8_lossy(&bytes).into());
        } else {
            if all {
                output::print(&format!("==> {name} <=="));
            }
            output::copy(&mut log).doing(format!("read {}", path.display()))?;
            followed.push((name, log));
        }
    }
    if options.format == Format::Json {
        output::result(options.format, &json!({ "id": sandbox.id.as_str(), "logs": document }), String::new);
    }
    if args.follow {
        follow(&store, &sandbox.id, followed, all).doing("follow the logs")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what is appended to logs, each with its name when it is another's turn, until the sandbox has ended.
fn follow(
    store: &Store,
    id: &SandboxId,
    mut logs: Vec<(&'static str, File)>,
    are_named: bool,
) -> io::Result<()> {
    let mut last = logs.last().map(|(name, _)| *name);
    loop {
        // Looked at first: what was written before the end is there by then.
        let has_ended =
            find(store, id.as_str()).map_or(true, |sandbox| matches!(sandbox.status, Status::Dead { .. }));
        for (name, log) in &mut logs {
            let (at, length) = (log.stream_position()?, log.metadata()?.len());
            if length < at {
                // It was cut at its beginning: what is left was shown.
                log.seek(SeekFrom::End(0))?;
            } else if length > at {
                if are_named && last != Some(*name) {
                    output::print(&format!("==> {name} <=="));
                    last = Some(*name);
                }
                output::copy(log)?;
            }
        }
        if has_ended {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Goes to where the last `lines` lines begin, reading backwards: a log can be long.
fn seek_to_last_lines(file: &mut (impl Read + Seek), lines: usize) -> io::Result<()> {
    const BLOCK: u64 = 64 << 10;
    let mut start = file.seek(SeekFrom::End(0))?;
    // The end of the last line ends no line before it.
    let (mut left, mut is_last) = (lines, true);
    let mut block = Vec::new();
    while start > 0 {
        let length = start.min(BLOCK);
        start -= length;
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(length).read_to_end(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let ends_line = *byte == b'\n' && !is_last;
            if left == 0 || (ends_line && left == 1) {
                file.seek(SeekFrom::Start(start + index as u64 + 1))?;
                return Ok(());
            }
            left -= usize::from(ends_line);
            is_last = false;
        }
    }
    file.seek(SeekFrom::Start(0)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn tail(text: &[u8], lines: usize) -> Vec<u8> {
        let (mut file, mut rest) = (Cursor::new(text), Vec::new());
        seek_to_last_lines(&mut file, lines).unwrap();
        file.read_to_end(&mut rest).unwrap();
        rest
    }

    #[test]
    fn the_last_lines() {
        for (text, lines, expected) in [
            ("", 1, ""),
            ("a", 1, "a"),
            ("a\n", 1, "a\n"),
            ("a\nb\nc\n", 0, ""),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n\n\n", 2, "\n\n"),
            ("a\nb\n", 9, "a\nb\n"),
        ] {
            assert_eq!(tail(text.as_bytes(), lines), expected.as_bytes(), "{text:?} {lines}");
        }
        let long = [b"first\n".to_vec(), vec![0xff; 200_000], b"\nlast\n".to_vec()].concat();
        assert_eq!(tail(&long, 1), b"last\n");
        assert_eq!(tail(&long, 2).len(), 200_000 + 6);
        assert_eq!(tail(&long, 3), long);
    }
}
