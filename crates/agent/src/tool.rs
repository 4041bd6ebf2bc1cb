//! What the agent does in processes of its own: reading and writing trees of files, which blocks, takes memory, and is
//! done with the rights of another user; and letting go of the data disk, which blocks.
//!
//! A session of this kind is an exec of the agent's own executable, so that credit, signals and its end are those of any
//! program: a tar stream on standard output or input, what is wrong in a line each on standard error, and the status 127 then if what
//! was named is not there, else 1.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use agent_protocol::{Archive, Exec, Extract, NOT_FOUND_STATUS};
use archive::{Destination, Error, Modes};

use crate::data;

/// Whatever file the agent was started from: it may have no name in the guest.
const SELF: &str = "/proc/self/exe";
const ARCHIVE: &str = "archive";
const EXTRACT: &str = "extract";
const RELEASE: &str = "release";

/// The program that sends a tree.
pub(crate) fn archive(request: Archive) -> Exec {
    let argv = [SELF, ARCHIVE, &request.path].map(str::to_owned).to_vec();
    Exec { argv, user: request.user, ..Exec::default() }
}

/// The program that makes one.
pub(crate) fn extract(request: Extract) -> Exec {
    let mut argv = [SELF, EXTRACT, &request.path].map(str::to_owned).to_vec();
    argv.extend(request.name);
    Exec { argv, user: request.user, stdin: true, ..Exec::default() }
}

/// The program that lets go of the data disk, which takes as long as there is something to write.
pub(crate) fn release() -> Exec {
    Exec { argv: [SELF, RELEASE].map(str::to_owned).to_vec(), user: Some("0".to_owned()), ..Exec::default() }
}

/// The process that one of these programs is.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments == [RELEASE] {
        return match data::release() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("cannot bring what was written to the data disk: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    let mut is_whole = true;
    let flawed = |flaw| {
        is_whole = false;
        say(&flaw);
    };
    let result = match arguments.as_slice() {
        [act, path] if act == ARCHIVE => archive::write(Path::new(path), &mut io::stdout().lock(), flawed),
        [act, path] if act == EXTRACT => make(Destination::folder(Path::new(path))),
        [act, path, name] if act == EXTRACT => make(Destination::named(Path::new(path), name)),
        _ => {
            crate::console("this is the first process of a guest, to be started by its kernel");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) if is_whole => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            say(&error);
            if is_absence(&error) {
                return u8::try_from(NOT_FOUND_STATUS).map_or(ExitCode::FAILURE, ExitCode::from);
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether what was named is not there.
fn is_absence(error: &Error) -> bool {
    matches!(error, Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn say(error: &impl std::fmt::Display) {
    // Whoever does not read it hears of the status.
    let _ = writeln!(io::stderr(), "{error}");
}

fn make(destination: Result<Destination, Error>) -> Result<(), Error> {
    // Whoever copies into a guest may also decide what is set-user-id there.
    destination?.extract(io::stdin().lock(), Modes::All)
}
