//! Which accelerators really work here: found out by booting a guest whose agent says on the console that it begins.

use std::path::Path;

use engine::{Engine, ProbeGuest};
use format::config::{Accelerator, Config};
use format::limits::KERNEL_BYTES;
use store::Store;

use crate::Error;
use crate::error::At;

/// A guest without disks: its agent begins, and then waits for them.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t";
/// How every line of the agent on the console begins.
const MARKER: &str = "spore agent:";

/// Tries a kernel and an initrd with an agent, unless the answer is known.
pub(crate) fn probe(
    store: &Store,
    engine: &mut dyn Engine,
    kernel: &Path,
    initrd: &Path,
) -> Result<(), Error> {
    let folder = store.work_folder()?;
    let guest =
        ProbeGuest { folder: folder.path(), kernel, initrd, command_line: COMMAND_LINE, marker: MARKER };
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
    let work = store.work_folder()?;
    let limit = usize::try_from(KERNEL_BYTES).unwrap_or(usize::MAX);
    let put = |name: &str, digest| {
        let path = work.path().join(name);
        std::fs::write(&path, store.read_blob(digest, limit)?).at("write", &path)?;
        Ok::<_, Error>(path)
    };
    let kernel = put("kernel", &config.machine.kernel.image)?;
    let initrd = put("initrd", &config.machine.kernel.initrd)?;
    probe(store, engine, &kernel, &initrd)
}
