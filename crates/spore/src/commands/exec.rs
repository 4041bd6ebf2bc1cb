//! `spore exec`

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use agent_protocol::{Exec, Request, signal};
use clap::Args;
use host::Deadline;
use sandbox::{Channel, OutputError, Session, SessionInput, connect, find, why_lost};
use store::Store;

use crate::environment::parse_variable;
use crate::error::{CliError, Doing, INTERRUPTED};
use crate::leaving::{Leaving, send_signal};
use crate::options::Options;
use crate::terminal::Terminal;
use crate::{context, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore exec ID -- python3 -c 'print(1)'
  spore exec ID --env KEY=VALUE --cwd /tmp -- env
  echo data | spore exec ID -i -- sort
  spore exec ID -it -- bash                 a shell at this terminal

With a terminal, every key goes to the command, Ctrl-C too. A signal to this process, or the end of its terminal, hangs
up the one in the sandbox, and a second later this process ends with 128 + N, whatever that does.
The exit status is the command's; 125 when Spore failed, 126 when it cannot be executed, 127 when it is not found,
128 + N when signal N ended it.")]
pub(crate) struct ExecArgs {
    /// The sandbox, or how its id begins
    id: String,
    #[command(flatten)]
    command: CommandArgs,
}

/// A program in a guest.
#[derive(Debug, Args)]
pub(crate) struct CommandArgs {
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal of the size of this one
    #[arg(short, long)]
    tty: bool,
    /// A variable for the command: KEY=VALUE, or KEY with the value that it has here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Where it runs
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,
    /// Who runs it: USER[:GROUP], each by name or number [default: the snapshot's user, else root]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl CommandArgs {
    /// What is asked of the guest, and the terminal that it is asked from, if that plays a part.
    pub(crate) fn request(&self) -> Result<(Request, Option<Terminal>), CliError> {
        let terminal = if self.tty { Some(Terminal::find(self.interactive)?) } else { None };
        let mut env: BTreeMap<_, _> = self.env.iter().cloned().collect();
        // Programs draw as this says that the terminal understands.
        if let (Some(_), Ok(kind)) = (terminal, std::env::var("TERM")) {
            env.entry("TERM".to_owned()).or_insert(kind);
        }
        let exec = Exec {
            argv: self.command.clone(),
            env,
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            stdin: self.interactive,
            tty: terminal.map(Terminal::size),
        };
        Ok((Request::Exec(exec), terminal))
    }
}

pub(crate) fn run(options: &Options, args: &ExecArgs) -> Result<ExitCode, CliError> {
    let (request, terminal) = args.command.request()?;
    let channel = open(&context::store_of_sandboxes(options)?, &args.id)?;
    follow(options, channel, &request, terminal, || ()).map_err(|error| explain(options, &args.id, error))
}

/// Of a connection to a sandbox that has ended: why.
pub(crate) fn explain(options: &Options, id: &str, error: CliError) -> CliError {
    let (CliError::Channel(lost) | CliError::Output(OutputError::Channel(lost))) = error else {
        return error;
    };
    match context::store_of_sandboxes(options) {
        Ok(store) => why_lost(&store, id, lost).map_or_else(CliError::from, CliError::from),
        Err(_) => lost.into(),
    }
}

/// A connection to the supervisor of a sandbox.
pub(crate) fn open(store: &Store, id: &str) -> Result<Channel, CliError> {
    let sandbox = find(store, id)?;
    let supervisor = context::supervisor(store)?;
    Ok(connect(store, &supervisor, &sandbox)?)
}

/// Longer than any host stays up.
pub(crate) const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a shell shows for a program whose output nobody reads any more: 128 + SIGPIPE.
const NOBODY_READS: u8 = 141;

/// Runs a session with this process's streams and signals, and the terminal if the request has one; its exit code is ours.
/// `give_up` is called before a third interruption ends this process.
pub(crate) fn follow(
    options: &Options,
    channel: Channel,
    request: &Request,
    terminal: Option<Terminal>,
    give_up: impl FnMut() + Send + 'static,
) -> Result<ExitCode, CliError> {
    let mut session = Session::start(channel, request)?;
    let leaving = Leaving::new(session.input(), give_up);
    let is_raw = terminal == Some(Terminal::Input);
    if is_raw {
        // Whatever comes as a signal is the lent terminal's.
        interrupt::on_interrupt(|| ())?;
    } else {
        forward_signals(session.input(), leaving.clone())?;
    }
    let leave = leaving.clone();
    let lend = |terminal: Terminal| terminal.lend(session.input(), move |number| leave.by(number));
    let lent = terminal.map(lend).transpose()?;
    if matches!(request, Request::Exec(Exec { stdin: true, .. })) {
        let (input, leaving) = (session.input(), is_raw.then(|| leaving.clone()));
        // It may wait for a terminal for ever: the process ends without it.
        std::thread::spawn(move || pump(&input, leaving));
    }
    let mut stdout = Outlet { inner: std::io::stdout(), is_closed: false };
    let mut stderr = Outlet { inner: std::io::stderr(), is_closed: false };
    let ended = session.finish(Deadline::after(FOREVER), &mut stdout, &mut stderr);
    let left = leaving.end();
    drop(lent);
    if let Some(status) = left {
        return Ok(ExitCode::from(status));
    }
    if stdout.is_closed || stderr.is_closed {
        return Ok(ExitCode::from(NOBODY_READS));
    }
    stdout.flush().doing("write to standard output")?;
    let status = match ended? {
        Ok(status) => status.shell_status(),
        Err(failure) => {
            output::error(&failure.message, "guest", options.format);
            failure.kind.shell_status()
        }
    };
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// A stream of ours, and whether its reader has gone.
struct Outlet<W> {
    inner: W,
    is_closed: bool,
}

impl<W: Write> Outlet<W> {
    fn watch<T>(&mut self, written: std::io::Result<T>) -> std::io::Result<T> {
        self.is_closed |= written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        written
    }
}

impl<W: Write> Write for Outlet<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes);
        self.watch(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.inner.flush();
        self.watch(flushed)
    }
}

/// Passes our input on. The end of a raw terminal's is that it has gone, and that we are to leave.
fn pump(input: &SessionInput, leaving: Option<Leaving>) {
    const SIGHUP: u8 = 1;
    let mut buffer = vec![0; 64 << 10];
    let mut stdin = std::io::stdin().lock();
    while let Ok(length @ 1..) = stdin.read(&mut buffer) {
        if input.write(buffer.get(..length).unwrap_or_default()).is_err() {
            return;
        }
    }
    match leaving {
        Some(leaving) => leaving.by(SIGHUP),
        // Nobody is there to hear of a session that has ended meanwhile.
        None => drop(input.close()),
    }
}

/// Ctrl-C goes to the guest's process, as it would to a local one; the third one ends us.
fn forward_signals(input: SessionInput, leaving: Leaving) -> Result<(), CliError> {
    let count = std::sync::atomic::AtomicU8::new(0);
    interrupt::on_interrupt(move || match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => send_signal(&input, signal::INT),
        1 => send_signal(&input, signal::KILL),
        _ => leaving.now(INTERRUPTED),
    })
}
