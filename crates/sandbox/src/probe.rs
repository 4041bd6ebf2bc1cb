//! Which accelerators really work here: found out by booting a guest whose agent says on the console that it begins.

use std::fs;
use std::path::Path;

use agent_protocol::CONSOLE_PREFIX;
use engine::{Engine, FileName, ProbeGuest};
use format::config::{Accelerator, Config};
use format::limits::KERNEL_BYTES;
use store::Store;

use crate::Error;
use crate::error::At;

/// A guest without disks: its agent begins, and then waits for them.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t";

/// Tries a kernel and an initrd with an agent, which `put` makes under these names in a folder that has nothing else, unless
/// the answer is known.
pub(crate) fn probe(
    store: &Store,
    engine: &mut dyn Engine,
    put: impl FnOnce(&Path, [&FileName; 2]) -> Result<(), Error>,
) -> Result<(), Error> {
    let folder = store.work_folder()?;
    let (kernel, initrd) = (&FileName::new("kernel")?, &FileName::new("initrd")?);
    put(folder.path(), [kernel, initrd])?;
    let (command_line, marker) = (COMMAND_LINE, CONSOLE_PREFIX);
    let guest = ProbeGuest { folder: folder.path(), kernel, initrd, command_line, marker };
    Ok(engine.probe_accelerators(&guest)?)
}

/// Tries a snapshot's own kernel and initrd if it needs an accelerator of which it is not known whether it works:
/// a host that has never baked has never tried.
///
/// # Errors
/// If the kernel or the initrd cannot be read, or no guest can be started at all.
pub fn probe_for(store: &Store, engine: &mut dyn Engine, config: &Config) -> Result<(), Error> {
    let needed = config.engine.accelerator;
    if needed == Accelerator::Tcg || engine.capabilities().accelerators.contains(&needed) {
        return Ok(());
    }
    let limit = usize::try_from(KERNEL_BYTES).unwrap_or(usize::MAX);
    let kernel = &config.machine.kernel;
    probe(store, engine, |folder, names| {
        for (name, digest) in names.into_iter().zip([&kernel.image, &kernel.initrd]) {
            let path = folder.join(name);
            fs::write(&path, store.read_blob(digest, limit)?).at("write", &path)?;
        }
        Ok(())
    })
}
