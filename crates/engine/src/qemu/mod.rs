//! QEMU as an [`Engine`].

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use format::config::{Accelerator, Cpu, EngineKind, StateFormat};
use host::{Deadline, ProcessId};

use crate::{
    BootSpec, Capabilities, Description, Engine, EngineError, FileName, ProbeGuest, RestoreSpec, Setup, Vm,
};

mod attachments;
mod check;
mod command;
mod compatibility;
mod confine;
mod discover;
#[cfg(test)]
mod fake;
mod probe;
mod process;
mod qcow2;
mod qmp;
mod state;
mod version;
mod vm;

pub use discover::Options;
#[cfg(feature = "testing")]
pub use vm::testing;

use discover::Found;
use process::{Life, Start};
use state::StateError;
use vm::QemuVm;

/// The machine type of new snapshots: the oldest that is supported, which later releases keep for years.
const BASELINE: (u32, u32) = (7, 2);

/// QEMU on this host.
#[derive(Debug, Clone)]
pub struct Qemu {
    options: Options,
    found: Found,
    capabilities: Capabilities,
}

impl Qemu {
    /// Finds QEMU and what it can do.
    ///
    /// # Errors
    /// If it is not there, too old, or does not answer.
    pub fn discover(options: Options) -> Result<Self, EngineError> {
        let found = Found::find(&options)?;
        let capabilities = capabilities(&options, &found);
        Ok(Self { options, found, capabilities })
    }

    /// Whether a guest writes what it should on an accelerator within so long, as confined as any other. No process remains.
    ///
    /// # Errors
    /// If QEMU cannot be started or ended.
    pub fn comes_up(
        &self,
        accelerator: Accelerator,
        guest: &ProbeGuest<'_>,
        patience: Duration,
    ) -> Result<bool, EngineError> {
        probe::comes_up(&self.found, &self.describe(accelerator), guest, patience)
    }

    fn check(&self, setup: &Setup<'_>) -> Result<(), EngineError> {
        let mismatches = self.restorable(setup.engine);
        if !mismatches.is_empty() {
            return Err(EngineError::Incompatible(mismatches));
        }
        check::setup(setup)
    }
}

fn capabilities(options: &Options, found: &Found) -> Capabilities {
    let accelerators = match options.accelerator {
        Some(Accelerator::Tcg) => vec![Accelerator::Tcg],
        Some(Accelerator::Kvm) => vec![Accelerator::Kvm, Accelerator::Tcg],
        None if found.kvm_works == Some(true) => vec![Accelerator::Kvm, Accelerator::Tcg],
        None => vec![Accelerator::Tcg],
    };
    Capabilities {
        version: found.version.to_string(),
        accelerators,
        machine_types: found.machine_types.iter().map(str::to_owned).collect(),
        state_formats: vec![StateFormat::QemuDevicesV1],
        memory_file_read_only: found.version.maps_memory_read_only(),
    }
}

impl Engine for Qemu {
    fn kind(&self) -> EngineKind {
        EngineKind::Qemu
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn describe(&self, accelerator: Accelerator) -> Description {
        let known = self.found.machine_types.iter().filter_map(version::q35);
        let (major, minor) = known.filter(|version| *version >= BASELINE).min().unwrap_or(BASELINE);
        let features: &[&str] = match accelerator {
            // What releases emulate differently, or wrongly; and `rep movsb`, which they emulate byte by byte, so that a kernel that
            // believes it to be fast copies and clears pages several times slower.
            Accelerator::Tcg => &["-cx16", "-erms", "-invpcid", "-pcid", "-tsc-deadline", "-x2apic"],
            // What processors of the model's generation by other makers lack.
            Accelerator::Kvm => &["-invpcid", "-pcid"],
        };
        Description {
            kind: EngineKind::Qemu,
            version: self.capabilities.version.clone(),
            machine_type: format!("pc-q35-{major}.{minor}"),
            accelerator,
            cpu: Cpu {
                model: "Haswell-noTSX".to_owned(),
                features: features.iter().copied().map(str::to_owned).collect(),
            },
            state_format: StateFormat::QemuDevicesV1,
        }
    }

    fn restorable(&self, engine: &Description) -> Vec<crate::Mismatch> {
        compatibility::mismatches(&self.found, &self.capabilities.accelerators, engine)
    }

    fn create_overlay(&self, folder: &Path, overlay: &FileName, base: &FileName) -> Result<(), EngineError> {
        let (path, base) = (folder.join(overlay), folder.join(base));
        let size = fs::metadata(&base).map_err(EngineError::at("read", &base))?.len();
        File::create_new(&path)
            .and_then(|file| qcow2::write_empty_overlay(&file, size))
            .map_err(EngineError::at("create", &path))
    }

    fn boot(&self, spec: &BootSpec<'_>) -> Result<Box<dyn Vm>, EngineError> {
        let setup = &spec.setup;
        self.check(setup)?;
        let arguments = |inherited| command::boot(self.found.version, spec, inherited);
        let start = Start {
            folder: setup.folder,
            disks: setup.disks,
            state: None,
            life: Life::WithStarter,
            unconfined: self.options.unconfined,
            network: setup.network,
        };
        let started = process::start(&self.found, &start, arguments)?;
        Ok(Box::new(QemuVm::begin(started, setup, None)?))
    }

    fn restore(&self, spec: &RestoreSpec<'_>) -> Result<Box<dyn Vm>, EngineError> {
        let setup = &spec.setup;
        self.check(setup)?;
        let version = self.found.version;
        let state = open_state(spec, version)?;
        let (inherited, source) = if version.reads_state_files() {
            (None, format!("file:{}", spec.state))
        } else {
            (Some(state.as_fd()), format!("fd:{}", state.as_raw_fd()))
        };
        let reserve = !process::may_overcommit();
        let arguments = |inherited| command::restore(version, setup, reserve, inherited);
        let start = Start {
            folder: setup.folder,
            disks: setup.disks,
            state: inherited,
            life: Life::Own,
            unconfined: self.options.unconfined,
            network: setup.network,
        };
        let started = process::start(&self.found, &start, arguments)?;
        Ok(Box::new(QemuVm::begin(started, setup, Some(&source))?))
    }

    fn attach(
        &self,
        folder: &Path,
        process: ProcessId,
        deadline: Deadline,
    ) -> Result<Box<dyn Vm>, EngineError> {
        Ok(Box::new(QemuVm::attach(folder, process, deadline)?))
    }

    fn probe_accelerators(&mut self, guest: &ProbeGuest<'_>) -> Result<(), EngineError> {
        if self.options.accelerator.is_some() || self.found.kvm_works.is_some() || !probe::kvm_opens() {
            return Ok(());
        }
        let works = self.comes_up(Accelerator::Kvm, guest, probe::PATIENCE)?;
        self.found.kvm_works = Some(works);
        self.found.remember(self.options.cache.as_deref());
        self.capabilities = capabilities(&self.options, &self.found);
        Ok(())
    }
}

/// Opens a state after what its header says was compared with what the config says.
fn open_state(spec: &RestoreSpec<'_>, version: version::Version) -> Result<File, EngineError> {
    let name = spec.state.as_str();
    let refused = |source: StateError| EngineError::State { file: name.to_owned(), source: source.into() };
    let path = spec.setup.folder.join(name);
    let io = |source| EngineError::at("read", &path)(source);
    let mut file = File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size > format::limits::STATE_BYTES as u64 {
        return Err(refused(StateError::TooLarge(size)));
    }
    let mut start = Vec::new();
    file.by_ref().take(state::CHECKED).read_to_end(&mut start).map_err(io)?;
    state::check(&start, &spec.setup.engine.machine_type).map_err(refused)?;
    if !version.maps_memory_read_only() {
        file.read_to_end(&mut start).map_err(io)?;
        state::check_commands(&start).map_err(refused)?;
    }
    // QEMU reads on from where its descriptor stands.
    file.rewind().map_err(io)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
