//! What tests of this and other crates need: a small snapshot, a blob in memory, a real registry, and a network that
//! can be broken at will.
//!
//! Servers listen on loopback only and end with what started them. Nothing here returns errors of its own making: what
//! cannot be set up panics, saying why.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

mod background;
mod blob;
mod certificates;
pub mod garage;
mod head;
pub mod nginx;
mod process;
pub mod proxy;
mod publish;
pub mod registry;
pub mod token;
mod user;

pub use blob::{Failing, MemorySource};
pub use certificates::write_certificates;
pub use publish::publish;
pub use store::testing::{Sample, SampleSpec, put_sample};
pub use user::{PASSWORD, USER};

/// Nobody, who trusts the system's authorities alone.
#[must_use]
pub fn no_access() -> crate::Access {
    crate::Access::of(crate::credentials::Credentials::from_files(Vec::new()))
}

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// Whether a program is there: in the PATH, or where Debian puts servers.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What a command prints, on either stream.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("an installed program can be started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    printed + &errors
}

/// Whether an HTTP server is there: one with TLS answers plain HTTP, too, if only to refuse it.
fn answers(addr: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).map(|()| start)
    };
    ask().is_ok_and(|start: [u8; 5]| start == *b"HTTP/")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a blob of a bucket young again, however young it is.
///
/// # Errors
/// If the store does not.
pub async fn renew_blob(
    location: &crate::bucket::BucketLocation,
    access: &crate::Access,
    digest: &format::Digest,
) -> Result<(), crate::HubError> {
    crate::bucket::BucketHub::new(location, access)?.renew(digest).await
}
