//! Whether guests run on KVM here.
//!
//! On some hosts `/dev/kvm` opens and a Linux guest then hangs in its first instructions; tiny guests run even
//! there. So the guest that is tried is a Linux that must come to user space.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use host::{Deadline, ProcessError, ProcessId};

use super::command::{self, Inherited};
use super::discover::Found;
use super::process::{self, Life, Start, end};
use crate::{CONSOLE_LOG, Description, EngineError, NetworkMode, ProbeGuest};

/// How long a guest may take. On a working KVM it needs a tenth of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often the console is looked at.
const GLANCE: Duration = Duration::from_millis(50);

pub(super) fn kvm_opens() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Boots the guest on what is described and waits for what it writes. No process remains.
pub(super) fn comes_up(
    found: &Found,
    description: &Description,
    guest: &ProbeGuest<'_>,
    patience: Duration,
) -> Result<bool, EngineError> {
    let start = Start {
        folder: guest.folder,
        disks: &[],
        state: None,
        life: Life::WithStarter,
        unconfined: false,
        network: NetworkMode::None,
    };
    let (process, _qmp) = process::start(found, &start, |inherited| line(description, guest, inherited))?;
    let works = writes(process, guest, Deadline::after(patience));
    end(process, Deadline::after(PATIENCE))?;
    tracing::info!(?works, accelerator = ?description.accelerator, "a guest was tried");
    Ok(works?)
}

/// Whether the guest writes what it should before it ends, or has to be ended.
fn writes(process: ProcessId, guest: &ProbeGuest<'_>, deadline: Deadline) -> Result<bool, ProcessError> {
    let console = guest.folder.join(CONSOLE_LOG);
    while !has_written(&console, guest.marker) {
        match process.wait(deadline.within(GLANCE)) {
            Err(ProcessError::Timeout(_)) if deadline.remaining().is_some() => {}
            Err(ProcessError::Timeout(_)) => return Ok(false),
            Err(error) => return Err(error),
            Ok(()) => return Ok(has_written(&console, guest.marker)),
        }
    }
    Ok(true)
}

fn has_written(console: &Path, marker: &str) -> bool {
    fs::read(console).is_ok_and(|text| String::from_utf8_lossy(&text).contains(marker))
}

/// The smallest machine with a serial port; it is of no snapshot.
fn line(description: &Description, guest: &ProbeGuest<'_>, inherited: Inherited) -> Vec<String> {
    let options = [
        ("-display", "none".to_owned()),
        ("-sandbox", command::SANDBOX.to_owned()),
        ("-machine", description.machine_type.clone()),
        ("-accel", command::accelerator(description.accelerator).to_owned()),
        ("-cpu", format!("{},enforce", description.cpu)),
        ("-m", "512M".to_owned()),
        ("-chardev", format!("socket,id=qmp,fd={},server=on,wait=off", inherited.qmp)),
        ("-mon", "chardev=qmp,mode=control".to_owned()),
        ("-chardev", format!("file,id=console,path={CONSOLE_LOG}")),
        ("-serial", "chardev:console".to_owned()),
        ("-kernel", guest.kernel.as_str().to_owned()),
        ("-initrd", guest.initrd.as_str().to_owned()),
        ("-append", guest.command_line.to_owned()),
    ];
    let mut line = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned).to_vec();
    line.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    line
}
