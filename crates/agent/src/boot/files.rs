//! The files of the guest's tree that the agent puts there.

use std::fs;
use std::io;
use std::path::Path;

use agent_protocol::GuestConfig;

use super::{BootError, Context};
use crate::identity::rewrite;

/// Until the first identity.
const NO_MACHINE_ID: &str = "00000000000000000000000000000000";

/// Copies the runners of the initrd to where programs of the guest find them.
pub(super) fn copy_runners(from: &str, to: &str) -> Result<(), BootError> {
    fs::create_dir_all(to).context(format!("make the folder {to}"))?;
    if !Path::new(from).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(from).context(format!("read {from}"))? {
        let entry = entry.context(format!("read {from}"))?;
        let target = Path::new(to).join(entry.file_name());
        fs::copy(entry.path(), &target).context(format!(
            "copy {} to {}",
            entry.path().display(),
            target.display()
        ))?;
    }
    Ok(())
}

/// Writes what a machine's `/etc` needs, whatever the base brought.
pub(super) fn prepare_etc(config: &GuestConfig) -> Result<(), BootError> {
    fs::create_dir_all("/etc").context("make the folder /etc")?;
    rewrite("/etc/hostname", config.hostname.as_str()).context("write /etc/hostname")?;
    // Brought to the writable disk, in its full length, before the freeze: each fork then only replaces the digits.
    rewrite("/etc/machine-id", NO_MACHINE_ID).context("write /etc/machine-id")?;
    name_localhost().context("write /etc/hosts")?;
    let Some(network) = &config.network else { return Ok(()) };
    const RESOLV_CONF: &str = "/etc/resolv.conf";
    // A base may have a link to a resolver's file that does not exist here.
    match fs::remove_file(RESOLV_CONF) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context("replace /etc/resolv.conf")
        }
        _ => rewrite(RESOLV_CONF, &format!("nameserver {}", network.dns)).context("write /etc/resolv.conf"),
    }
}

fn name_localhost() -> io::Result<()> {
    let hosts = match fs::read_to_string("/etc/hosts") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    if names_localhost(&hosts) {
        return Ok(());
    }
    fs::write("/etc/hosts", format!("127.0.0.1 localhost\n::1 localhost\n{hosts}"))
}

fn names_localhost(hosts: &str) -> bool {
    let entry = |line: &str| {
        let mut words =
            line.split('#').next().unwrap_or_default().split_whitespace().skip(1).map(str::to_owned);
        words.any(|name| name == "localhost")
    };
    hosts.lines().any(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_found_as_a_name_only() {
        assert!(names_localhost("# hosts\n127.0.0.1\tmine localhost # own\n"));
        assert!(!names_localhost("127.0.0.1 localhost.localdomain\n#127.0.0.1 localhost\nlocalhost 1\n"));
    }
}
