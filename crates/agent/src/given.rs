//! What a host gives this copy of the guest: variables, and secrets as files in memory.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use agent_protocol::{Failure, FailureKind, Given, GuestConfig, SECRETS_DIR};

use crate::spawn::{credentials, failure};
use crate::users::Credentials;

/// Takes it. From then on all that is run has the variables; the warm process, which runs already, has not.
pub(crate) fn take(given: &Given, config: &mut GuestConfig) -> Result<(), Failure> {
    let owner = config.user.as_deref().map(credentials).transpose()?;
    for (name, value) in given.secrets() {
        let path = Path::new(SECRETS_DIR).join(name);
        write(&path, value, owner.as_ref())
            .map_err(|error| failure(FailureKind::Io, format!("cannot write {}: {error}", path.display())))?;
    }
    config.env.extend(given.env().clone());
    Ok(())
}

/// Writes a secret that only its owner reads: whoever programs run as by default.
fn write(path: &Path, value: &[u8], owner: Option<&Credentials>) -> io::Result<()> {
    // `/run` is in memory: a disk of the guest never has it.
    fs::create_dir_all(SECRETS_DIR)?;
    fs::set_permissions(SECRETS_DIR, Permissions::from_mode(0o755))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o400).open(path)?;
    if let Some(owner) = owner {
        rustix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    file.write_all(value)
}
