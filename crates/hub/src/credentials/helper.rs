//! Credential helpers: programs `docker-credential-NAME` that keep credentials elsewhere than in a file.
//!
//! ```text
//! get     a server on stdin  →  {"ServerURL", "Username", "Secret"} on stdout
//! store   the same JSON on stdin
//! erase   a server on stdin
//! ```
//!
//! A failure is said on stdout too. What comes from there is never shown; stderr is ours, so that a helper can say to
//! people what it wants them to know, as it can under every other tool.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};

use super::{Credential, CredentialError, Secret, TOKEN_USER};

/// What a helper may say.
const MAX_OUTPUT: usize = 64 << 10;

/// The one failure that is none, in the words that all helpers use.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Where helpers are found, and how long they are waited for.
#[derive(Debug, Clone)]
pub(super) struct Helpers {
    pub(super) search_path: OsString,
    pub(super) patience: Duration,
}

impl Helpers {
    /// The helper `NAME`, which the file at `path` names.
    pub(super) fn named(&self, name: &str, path: &Path) -> Result<Helper, CredentialError> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(CredentialError::HelperName { path: path.to_owned(), name: name.to_owned() });
        }
        let program = format!("docker-credential-{name}");
        // Never from the working directory, which somebody else may have filled.
        let found = env::split_paths(&self.search_path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&program))
            .find(|program| is_executable(program));
        match found {
            Some(program) => Ok(Helper { program, patience: self.patience }),
            None => Err(CredentialError::NoHelper { program, path: path.to_owned() }),
        }
    }
}

fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What helpers read and write.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    #[serde(default, rename = "ServerURL")]
    server: std::borrow::Cow<'a, str>,
    username: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

/// A helper that is installed.
#[derive(Debug)]
pub(super) struct Helper {
    program: PathBuf,
    patience: Duration,
}

impl Helper {
    /// The credential that it keeps for `server`.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        let Some(output) = self.ask("get", server, server.as_bytes())? else { return Ok(None) };
        let record: Record<'_> = serde_json::from_slice(&output).map_err(|_| {
            self.failed("get", server, "its answer is not JSON with a Username and a Secret".into())
        })?;
        let secret = Secret::new(record.secret);
        Ok(match &*record.username {
            TOKEN_USER => Some(Credential::IdentityToken(secret)),
            // Some say so that they have none.
            "" if secret.expose().is_empty() => None,
            user => Some(Credential::Basic { user: user.to_owned(), password: secret }),
        })
    }

    /// Has it keep the credential for `server`.
    pub(super) fn store(&self, server: &str, credential: &Credential) -> Result<(), CredentialError> {
        let (username, secret) = match credential {
            Credential::Basic { user, password } => (user.as_str(), password.expose()),
            Credential::IdentityToken(token) => (TOKEN_USER, token.expose()),
        };
        let record = Record { server: server.into(), username: username.into(), secret: secret.into() };
        let input = serde_json::to_vec(&record).map_err(|error| self.io(error.into()))?;
        match self.ask("store", server, &input)? {
            Some(_) => Ok(()),
            None => Err(self.failed("store", server, format!("it says: {NOT_FOUND}"))),
        }
    }

    /// Has it forget the credential for `server`. Returns whether it knew one, as far as it tells.
    pub(super) fn erase(&self, server: &str) -> Result<bool, CredentialError> {
        Ok(self.ask("erase", server, server.as_bytes())?.is_some())
    }

    /// Runs it. `None` if it says that there is no such credential.
    fn ask(
        &self,
        action: &'static str,
        server: &str,
        input: &[u8],
    ) -> Result<Option<Vec<u8>>, CredentialError> {
        let (status, output) = match self.run(action, input) {
            Ok(ended) => ended,
            Err(Trouble::Io(source)) => return Err(self.io(source)),
            Err(Trouble::Late) => {
                let reason = format!("it has not ended within {:?}", self.patience);
                return Err(self.failed(action, server, reason));
            }
            Err(Trouble::Long) => {
                let reason = format!("it says more than {} KiB", MAX_OUTPUT >> 10);
                return Err(self.failed(action, server, reason));
            }
        };
        if status.success() {
            Ok(Some(output))
        } else if output.trim_ascii() == NOT_FOUND.as_bytes() {
            Ok(None)
        } else {
            Err(self.failed(action, server, format!("it ended with {status}")))
        }
    }

    fn run(&self, action: &str, input: &[u8]) -> Result<(ExitStatus, Vec<u8>), Trouble> {
        let child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut child = Running(child);
        let output = exchange(&mut child.0, input, Instant::now() + self.patience)?;
        Ok((child.0.wait()?, output))
    }

    fn io(&self, source: io::Error) -> CredentialError {
        CredentialError::HelperIo { program: self.program.clone(), source }
    }

    fn failed(&self, action: &'static str, server: &str, reason: String) -> CredentialError {
        CredentialError::Helper { program: self.program.clone(), action, server: server.to_owned(), reason }
    }
}

/// Why there is no answer.
enum Trouble {
    Io(io::Error),
    Late,
    Long,
}

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// A process that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Gives `input` to a process and takes what it says until it has ended: a process that it left behind can hold the
/// pipe open for ever.
fn exchange(child: &mut Child, mut input: &[u8], end: Instant) -> Result<Vec<u8>, Trouble> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let (mut stdin, mut stdout) = (child.stdin.take(), child.stdout.take());
    stdin.as_ref().map_or(Ok(()), |stdin| rustix::io::ioctl_fionbio(stdin, true))?;
    stdout.as_ref().map_or(Ok(()), |stdout| rustix::io::ioctl_fionbio(stdout, true))?;
    let mut output = Vec::new();
    loop {
        give(&mut stdin, &mut input)?;
        let has_ended = wait(&process, stdin.as_ref(), stdout.as_ref(), end)?;
        take(&mut stdout, &mut output)?;
        if has_ended {
            return Ok(output);
        }
    }
}

/// Waits until the process has ended, which is returned, or one of the pipes is ready.
fn wait(
    process: &impl std::os::fd::AsFd,
    stdin: Option<&ChildStdin>,
    stdout: Option<&ChildStdout>,
    end: Instant,
) -> Result<bool, Trouble> {
    let mut fds = vec![PollFd::new(process, PollFlags::IN)];
    fds.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    fds.extend(stdout.map(|stdout| PollFd::new(stdout, PollFlags::IN)));
    let left = end.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    match poll(&mut fds, Some(&left)) {
        Ok(0) => Err(Trouble::Late),
        Ok(_) => Ok(fds.first().is_some_and(|process| !process.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes what the pipe takes, and closes it behind the last byte or when nobody reads.
fn give(stdin: &mut Option<ChildStdin>, input: &mut &[u8]) -> Result<(), Trouble> {
    let Some(pipe) = stdin else { return Ok(()) };
    while !input.is_empty() {
        match pipe.write(input) {
            Ok(written) => *input = input.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error.into()),
        }
    }
    *stdin = None;
    Ok(())
}

/// Reads what is in the pipe, and closes it at its end.
fn take(stdout: &mut Option<ChildStdout>, output: &mut Vec<u8>) -> Result<(), Trouble> {
    let Some(pipe) = stdout else { return Ok(()) };
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => output.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if output.len() > MAX_OUTPUT {
            return Err(Trouble::Long);
        }
    }
    *stdout = None;
    Ok(())
}
