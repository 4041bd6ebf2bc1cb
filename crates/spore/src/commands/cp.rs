//! `spore cp`

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_protocol::{Archive, Extract, Request};
use archive::{Destination, Modes, root_name};
use clap::Args;
use host::Deadline;
use indicatif::ProgressBar;
use sandbox::{Session, SessionInput, SessionOutput};
use serde_json::json;

use super::exec::{self, FOREVER};
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{context, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore cp data.csv ID:/tmp/              a file into a folder
  spore cp ID:/root/out ./results         a folder, as ./results, or into it if that is a folder
  spore cp src/. ID:/app                  what is in a folder
  spore cp ID:/var/log - | tar t          as a tar stream
  tar c src | spore cp - ID:/app

Modes, times, symbolic links and holes are kept; owners are not: what comes into a sandbox belongs to --user, what comes out
of it to you, without set-user-id. A link that is named is followed. Files that are there are replaced; whatever a
sandbox sends, nothing outside the destination is touched.")]
pub(crate) struct CpArgs {
    /// What to copy: PATH, SANDBOX:PATH, or - for a tar stream on standard input
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to: SANDBOX:PATH, PATH, or - for a tar stream on standard output
    #[arg(value_name = "TO")]
    to: String,
    /// Who reads or writes in the sandbox: a name, or UID[:GID]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Here(PathBuf),
    Stream,
    Guest { id: String, path: String },
}

impl Side {
    /// A name with a `/` before its first `:` is a file here.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((id, path)) if !id.is_empty() && !id.contains('/') => {
                let path = if path.is_empty() { "." } else { path };
                Self::Guest { id: id.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(text.into()),
        }
    }
}

pub(crate) fn run(options: &Options, args: &CpArgs) -> Result<ExitCode, CliError> {
    let user = args.user.clone();
    let bar = progress::moved(options, "copying");
    match (Side::parse(&args.from), Side::parse(&args.to)) {
        (Side::Guest { id, path }, Side::Stream) => {
            if io::stdout().is_terminal() {
                let reason = "a tar stream is nothing for a terminal: give `-` a pipe or a file";
                return Err(CliError::Usage(reason.to_owned()));
            }
            let session = start(options, &id, &Request::Archive(Archive { path, user }))?;
            let mut stream = SessionOutput::new(session, Deadline::after(FOREVER));
            output::copy(&mut bar.wrap_read(&mut stream)).doing("write to standard output")?;
            stream.finish()?;
            return Ok(ExitCode::SUCCESS);
        }
        (Side::Guest { id, path }, Side::Here(to)) => {
            // The sandbox has no say in what it is called here.
            let destination = Destination::named(&to, root_name(Path::new(&path)))?;
            let session = start(options, &id, &Request::Archive(Archive { path, user }))?;
            receive(session, &destination, &bar)?;
        }
        (Side::Here(from), Side::Guest { id, path }) => {
            // Before anything is asked of the guest.
            std::fs::metadata(&from).doing(format!("read {}", from.display()))?;
            let name = root_name(&from).to_str().map(str::to_owned);
            let name = Some(name.ok_or_else(|| {
                CliError::Usage(format!("{}: the name of what is copied must be UTF-8", from.display()))
            })?);
            let session = start(options, &id, &Request::Extract(Extract { path, name, user }))?;
            send(session, &bar, |mut out| Ok(archive::write(&from, &mut out)?))?;
        }
        (Side::Stream, Side::Guest { id, path }) => {
            let session = start(options, &id, &Request::Extract(Extract { path, name: None, user }))?;
            send(session, &bar, |out| {
                io::copy(&mut io::stdin().lock(), out).doing("pass standard input on").map(drop)
            })?;
        }
        (Side::Guest { .. }, Side::Guest { .. }) => {
            let reason = "both sides are in sandboxes: spore cp A:PATH - | spore cp - B:PATH";
            return Err(CliError::Usage(reason.to_owned()));
        }
        _ => {
            let reason = "neither side is in a sandbox: write SANDBOX:PATH for one of them";
            return Err(CliError::Usage(reason.to_owned()));
        }
    }
    let document = json!({ "from": args.from, "to": args.to, "bytes": bar.position() });
    bar.finish_and_clear();
    output::result(options.format, &document, String::new);
    Ok(ExitCode::SUCCESS)
}

fn start(options: &Options, id: &str, request: &Request) -> Result<Session, CliError> {
    let channel = exec::open(&context::store(options)?, id)?;
    Ok(Session::start(channel, request)?)
}

/// Makes what a session sends.
fn receive(session: Session, destination: &Destination, bar: &ProgressBar) -> Result<(), CliError> {
    let mut stream = SessionOutput::new(session, Deadline::after(FOREVER));
    let made = destination.extract(bar.wrap_read(&mut stream), Modes::Permissions);
    match made {
        // Why a stream breaks off, the guest knows best.
        Ok(()) | Err(archive::Error::Truncated | archive::Error::Stream(_)) => stream.finish()?,
        Err(_) => {}
    }
    Ok(made?)
}

/// Sends what `write` writes to a session, and waits until that has made use of it.
fn send(
    session: Session,
    bar: &ProgressBar,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError> + Send,
) -> Result<(), CliError> {
    let input = session.input();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || feed(input, bar, write));
        let ended = SessionOutput::new(session, Deadline::after(FOREVER)).finish();
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // One that was not written to its end was ended for that; one that ended by itself is why it was not.
        match (written, ended) {
            (Err(Unwritten::Source(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Err(Unwritten::Session), Ok(())) | (Ok(()), Ok(())) => Ok(()),
        }
    })
}

/// Why a session was not sent everything.
enum Unwritten {
    /// It has ended.
    Session,
    /// What was to be sent.
    Source(CliError),
}

fn feed(
    input: SessionInput,
    bar: &ProgressBar,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<(), Unwritten> {
    const SIGKILL: i32 = 9;
    const BUFFER: usize = 64 << 10;
    let mut watched = Watched { input, has_ended: false };
    let mut out = BufWriter::with_capacity(BUFFER, bar.wrap_write(&mut watched));
    let written = write(&mut out).and_then(|()| out.flush().doing("send to the sandbox"));
    drop(out);
    match written {
        _ if watched.has_ended => Err(Unwritten::Session),
        // What comes after its end marker is nobody's.
        Ok(()) => watched.input.close().map_err(|_| Unwritten::Session),
        Err(error) => {
            // It has ended meanwhile.
            watched.input.signal(SIGKILL).ok();
            Err(Unwritten::Source(error))
        }
    }
}

/// The way into a session, and whether it has ended.
struct Watched {
    input: SessionInput,
    has_ended: bool,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.input.write(bytes).inspect_err(|_| self.has_ended = true)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let guest = |id: &str, path: &str| Side::Guest { id: id.into(), path: path.into() };
        for (text, side) in [
            ("-", Side::Stream),
            ("a", Side::Here("a".into())),
            ("./a:b", Side::Here("./a:b".into())),
            ("/x/a:b", Side::Here("/x/a:b".into())),
            (":a", Side::Here(":a".into())),
            ("abc:/x", guest("abc", "/x")),
            ("abc:x:y", guest("abc", "x:y")),
            ("abc:", guest("abc", ".")),
        ] {
            assert_eq!(Side::parse(text), side, "{text}");
        }
    }
}
