//! Runs other programs: found once, in a clean environment, with what they say kept for errors.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::Error;
use crate::error::IoContext;
use crate::tools::Tool;

/// How much of a program's messages an error repeats, in bytes.
const KEPT_OUTPUT: usize = 4096;
/// How much of a program's answer is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// The only variables of ours that programs see: how to reach the network is the host's to say.
const PASSED_ON: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// A program to run. `act` says what for, as in "while ACT".
pub(crate) struct Run {
    tool: Tool,
    act: String,
    command: Command,
}

impl Run {
    pub(crate) fn new(tool: Tool, act: impl Into<String>) -> Result<Self, Error> {
        let mut command = Command::new(tool.checked_path()?);
        command
            .env_clear()
            .env("PATH", crate::tools::PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", "/");
        command.envs(PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self { tool, act: act.into(), command })
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Keeps the program's standard input open, without writing to it, until the program has ended: what
    /// reads it learns of our death.
    pub(crate) fn tied_to_us(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it to its end and passes each line of its messages to `line`.
    pub(crate) fn watch(mut self, mut line: impl FnMut(&str)) -> Result<(), Error> {
        let mut child = self.command.spawn().io("run", Path::new(self.tool.program()))?;
        let stdin = child.stdin.take();
        let mut kept = String::new();
        if let Some(stderr) = child.stderr.take() {
            for text in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&text);
                line(&text);
                keep(&mut kept, &text);
            }
        }
        let status = child.wait().io("wait for", Path::new(self.tool.program()))?;
        drop(stdin);
        self.check(status, kept)
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.watch(|_| ())
    }

    /// Runs it to its end and gives what it wrote to its standard output.
    pub(crate) fn answer(mut self) -> Result<Vec<u8>, Error> {
        // A file takes whatever comes while the other stream is read, where a pipe could fill up.
        let mut stderr =
            tempfile::tempfile().io("create a temporary file for", Path::new(self.tool.program()))?;
        let copy = stderr.try_clone().io("copy a handle for", Path::new(self.tool.program()))?;
        self.command.stdout(Stdio::piped()).stderr(copy);
        let mut child = self.command.spawn().io("run", Path::new(self.tool.program()))?;
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout
                .take(MAX_ANSWER)
                .read_to_end(&mut answer)
                .io("read from", Path::new(self.tool.program()))?;
        }
        let status = child.wait().io("wait for", Path::new(self.tool.program()))?;
        let mut kept = String::new();
        if !status.success() {
            use std::io::Seek as _;
            stderr.rewind().io("read the messages of", Path::new(self.tool.program()))?;
            for text in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                keep(&mut kept, &String::from_utf8_lossy(&text));
            }
        }
        self.check(status, kept)?;
        Ok(answer)
    }

    fn check(self, status: ExitStatus, output: String) -> Result<(), Error> {
        if status.success() {
            return Ok(());
        }
        let status = status.to_string();
        Err(Error::ToolFailed { program: self.tool.program(), act: self.act, status, output })
    }
}

/// Appends a line and drops lines from the start when there are too many.
fn keep(kept: &mut String, line: &str) {
    kept.extend(line.chars().take(KEPT_OUTPUT).chain(['\n']));
    while kept.len() > KEPT_OUTPUT {
        match kept.split_once('\n') {
            Some((_, rest)) if !rest.is_empty() => *kept = rest.to_owned(),
            _ => break,
        }
    }
}
