//! What a host gives this copy of the guest: variables, and secrets as files in memory; and how it is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_protocol::{Failure, FailureKind, Given, GuestConfig, SECRETS_DIR};

use crate::spawn::{credentials, failure};
use crate::users::Credentials;

/// What was given so far.
#[derive(Default)]
pub(crate) struct Provided {
    /// The guest's own variables, once others were added to them.
    own_env: Option<BTreeMap<String, String>>,
    secrets: BTreeSet<String>,
}

impl Provided {
    /// Takes it. From then on all that is run has the variables; the warm process, which runs already, has not.
    pub(crate) fn take(&mut self, given: &Given, config: &mut GuestConfig) -> Result<(), Failure> {
        let owner = config.user.as_deref().map(credentials).transpose()?;
        for (name, value) in given.secrets() {
            self.secrets.insert(name.clone());
            let path = path(name);
            write(&path, value, owner.as_ref()).map_err(|error| cannot("write", &path, &error))?;
        }
        self.own_env.get_or_insert_with(|| config.env.clone());
        config.env.extend(given.env().clone());
        Ok(())
    }

    /// Takes it back, for what is run from then on. What programs have read of it is theirs.
    pub(crate) fn withdraw(&mut self, config: &mut GuestConfig) -> Result<(), Failure> {
        if let Some(own) = self.own_env.take() {
            config.env = own;
        }
        while let Some(name) = self.secrets.first() {
            let path = path(name);
            remove(&path).map_err(|error| cannot("remove", &path, &error))?;
            self.secrets.pop_first();
        }
        Ok(())
    }
}

fn path(secret: &str) -> PathBuf {
    Path::new(SECRETS_DIR).join(secret)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    failure(FailureKind::Io, format!("cannot {what} {}: {error}", path.display()))
}

/// Writes a secret that only its owner reads: whoever programs run as by default.
fn write(path: &Path, value: &[u8], owner: Option<&Credentials>) -> io::Result<()> {
    // `/run` is in memory: a disk of the guest never has it.
    fs::create_dir_all(SECRETS_DIR)?;
    fs::set_permissions(SECRETS_DIR, Permissions::from_mode(0o755))?;
    remove(path)?;
    let mut file = File::options().write(true).create_new(true).mode(0o400).open(path)?;
    if let Some(owner) = owner {
        rustix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    file.write_all(value)
}

/// Removes a file if it is there, and its bytes from the memory that is free then.
fn remove(path: &Path) -> io::Result<()> {
    // Whatever the guest has put there instead is neither followed nor waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    if let Ok(mut file) = File::options().write(true).custom_flags(flags).open(path) {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            let length = metadata.len().min(agent_protocol::GIVEN_MAX as u64);
            io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_removed_secret_is_overwritten_and_nothing_else_is() {
        let folder = std::env::temp_dir().join(format!("spore-given-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [secret, other, link] = ["secret", "other", "link"].map(|name| folder.join(name));
        fs::write(&secret, "a secret").unwrap();
        let mut still_open = File::open(&secret).unwrap();
        remove(&secret).unwrap();
        let mut left = Vec::new();
        io::Read::read_to_end(&mut still_open, &mut left).unwrap();
        assert_eq!(left, [0; 8]);
        remove(&secret).unwrap();
        fs::write(&other, "is kept").unwrap();
        symlink(&other, &link).unwrap();
        remove(&link).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "is kept");
        fs::remove_dir_all(&folder).unwrap();
    }
}
