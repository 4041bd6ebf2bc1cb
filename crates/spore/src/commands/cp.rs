//! `spore cp`

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use agent_protocol::{Archive, Extract, Request, signal};
use archive::{Destination, Modes, root_name};
use clap::Args;
use host::Deadline;
use indicatif::ProgressBar;
use sandbox::{Session, SessionInput, SessionOutput};
use serde_json::json;

use super::exec::{self, FOREVER};
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{context, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore cp data.csv ID:/tmp/              a file into a folder
  spore cp ID:/root/out ./results         a folder, as ./results, or into it if that is a folder
  spore cp src/. ID:/app                  what is in a folder
  spore cp ID:/var/log - | tar t          as a tar stream
  tar c src | spore cp - ID:/app

Modes, times, symbolic links and holes are kept; owners are not: what comes into a sandbox belongs to --user, what comes out
of it to you, by your umask and without set-user-id. A link that is named is followed. Files that are there are
replaced, each when the new one is whole; whatever a sandbox sends, nothing outside the destination is touched.
What is no file, folder or link is left out and named, and the exit code is 1 then.")]
pub(crate) struct CpArgs {
    /// What to copy: PATH, SANDBOX:PATH, or - for a tar stream on standard input
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to: SANDBOX:PATH, PATH, or - for a tar stream on standard output
    #[arg(value_name = "TO")]
    to: String,
    /// Who reads or writes in the sandbox: USER[:GROUP], each by name or number [default: the snapshot's user, else root]
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
    /// The sandbox that it is in.
    fn sandbox(self) -> Option<String> {
        match self {
            Self::Guest { id, .. } => Some(id),
            Self::Here(_) | Self::Stream => None,
        }
    }

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
    copy(options, args).map_err(|error| {
        let sides = [&args.from, &args.to].map(|side| Side::parse(side));
        match sides.into_iter().find_map(Side::sandbox) {
            _ if interrupt::has_come() => CliError::HalfCopied,
            Some(id) => exec::explain(options, &id, error),
            None => error,
        }
    })
}

fn copy(options: &Options, args: &CpArgs) -> Result<ExitCode, CliError> {
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
        (Side::Here(from), Side::Guest { id, path }) => send_files(options, from, &id, path, user, &bar)?,
        (Side::Stream, Side::Guest { id, path }) => {
            if io::stdin().is_terminal() {
                let reason = "a tar stream is nothing to type: give `-` a pipe or a file";
                return Err(CliError::Usage(reason.to_owned()));
            }
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
    let channel = exec::open(&context::store_of_sandboxes(options)?, id)?;
    // The sandbox may not answer any more: what ends this does not ask it.
    interrupt::hang_up(channel.sender().doing("connect to the sandbox")?)?;
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

/// Sends a file or folder of ours.
fn send_files(
    options: &Options,
    from: PathBuf,
    id: &str,
    path: String,
    user: Option<String>,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    // Before anything is asked of the guest.
    std::fs::metadata(&from).doing(format!("read {}", from.display()))?;
    let name = root_name(&from).to_str().map(str::to_owned);
    let name = Some(name.ok_or_else(|| {
        CliError::Usage(format!("{}: the name of what is copied must be UTF-8", from.display()))
    })?);
    let session = start(options, id, &Request::Extract(Extract { path, name, user }))?;
    let flaws = Arc::new(AtomicUsize::new(0));
    let (counted, shown) = (Arc::clone(&flaws), bar.clone());
    let flawed = move |flaw: archive::Error| {
        counted.fetch_add(1, Ordering::Relaxed);
        shown.suspend(|| output::warning(&flaw.to_string()));
    };
    send(session, bar, move |mut out| Ok(archive::write(&from, &mut out, flawed)?))?;
    // All of them by now: the guest has seen the end of the stream.
    match flaws.load(Ordering::Relaxed) {
        0 => Ok(()),
        count => {
            Err(CliError::Failed(format!("the rest was copied; {count} of the files were not, as said")))
        }
    }
}

/// Sends what `write` writes to a session, and waits until that has made use of it. If the session ends before, `write` is
/// left where it is: it may wait for input that never comes.
fn send(
    session: Session,
    bar: &ProgressBar,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError> + Send + 'static,
) -> Result<(), CliError> {
    let (input, bar) = (session.input(), bar.clone());
    let (failed, failure) = channel();
    std::thread::spawn(move || feed(input, &bar, write, &failed));
    let ended = SessionOutput::new(session, Deadline::after(FOREVER)).finish();
    match failure.try_recv() {
        // A session that was not sent everything was ended for that.
        Ok(error) => Err(error),
        Err(_) => Ok(ended?),
    }
}

/// What fails of `write` is told before the session is ended for it.
fn feed(
    input: SessionInput,
    bar: &ProgressBar,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
    failed: &Sender<CliError>,
) {
    const BUFFER: usize = 64 << 10;
    let mut feed = Feed { input, has_ended: false };
    let mut out = BufWriter::with_capacity(BUFFER, bar.wrap_write(&mut feed));
    let written = write(&mut out).and_then(|()| out.flush().doing("send to the sandbox"));
    drop(out);
    let told = match written {
        // It says itself how it has ended.
        _ if feed.has_ended => return,
        // What comes after its end marker is nobody's.
        Ok(()) => feed.input.close(),
        Err(error) => {
            failed.send(error).ok();
            feed.input.signal(signal::KILL)
        }
    };
    // It has ended meanwhile.
    told.ok();
}

/// The way into a session, and whether it has ended.
struct Feed {
    input: SessionInput,
    has_ended: bool,
}

impl Write for Feed {
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
