//! What must be refused, before anything runs if it can be told by then.

use std::fs::{self, File};
use std::path::PathBuf;

use format::config::{Cpu, Machine};

use super::bench::{Bench, OVERLAY, STATE, WRITABLE, nobody_works_in};
use super::{Failure, expect, soon};
use crate::{Description, Disk, Engine, EngineError, FileName, RestoreSpec, Setup};

/// Restores that must fail, in one folder.
struct Refusals<'a> {
    bench: &'a Bench<'a>,
    engine: &'a dyn Engine,
    folder: PathBuf,
    disks: Vec<Disk>,
    state: FileName,
}

impl Bench<'_> {
    /// All that does not fit is refused, and leaves no process.
    pub(super) fn refusals(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let (folder, disks) = (self.sandbox(engine, "refused")?, self.overlays()?);
        let refusals = Refusals { bench: self, engine, folder, disks, state: FileName::new(STATE)? };
        refusals.other_engines()?;
        refusals.other_machines()?;
        refusals.other_files()
    }
}

impl Refusals<'_> {
    fn setup(&self) -> Setup<'_> {
        self.bench.setup(&self.folder, &self.disks)
    }

    fn refused(
        &self,
        what: &str,
        setup: Setup<'_>,
        as_it_should: fn(&EngineError) -> bool,
    ) -> Result<(), Failure> {
        match self.engine.restore(&RestoreSpec { setup, state: &self.state }) {
            Ok(mut vm) => {
                vm.kill(soon())?;
                Err(format!("{what}: was not refused").into())
            }
            Err(error) if as_it_should(&error) => nobody_works_in(&self.folder),
            Err(error) => Err(format!("{what}: refused, but with: {error}").into()),
        }
    }

    /// Another machine type or CPU, and text that would be options of the engine.
    fn other_engines(&self) -> Result<(), Failure> {
        let own = &self.bench.engine;
        let machine_type = |name: &str| Description { machine_type: name.to_owned(), ..own.clone() };
        let cpu = |model: &str, more: &[&str]| {
            let mut cpu = Cpu { model: model.to_owned(), ..own.cpu.clone() };
            cpu.features.extend(more.iter().copied().map(str::to_owned));
            Description { cpu, ..own.clone() }
        };
        for wrong in [
            machine_type("no-such-machine"),
            machine_type(&format!("{}9", own.machine_type)),
            machine_type(&format!("{},dump-guest-core=off", own.machine_type)),
            cpu("no-such-cpu", &[]),
            cpu(&format!("{},+avx", own.cpu.model), &[]),
            cpu(&own.cpu.model, &["+no-such-feature"]),
            cpu(&own.cpu.model, &["+avx,-sse"]),
        ] {
            let what = format!("{} {}", wrong.machine_type, wrong.cpu);
            let setup = Setup { engine: &wrong, ..self.setup() };
            self.refused(&what, setup, |error| matches!(error, EngineError::Incompatible(_)))?;
        }
        Ok(())
    }

    /// Memory, devices or disks that are not those of the folder.
    fn other_machines(&self) -> Result<(), Failure> {
        let own = &self.bench.machine;
        let memory = own.profile.memory_regions(own.memory_size() + (64 << 20));
        let larger = Machine { memory, ..own.clone() };
        let more = Machine { devices: own.profile.devices(2), ..own.clone() };
        let swapped: Vec<Disk> = self.disks.iter().rev().cloned().collect();
        for (what, setup) in [
            ("more memory", Setup { machine: &larger, ..self.setup() }),
            ("another layer", Setup { machine: &more, ..self.setup() }),
            ("disks in another order", Setup { disks: &swapped, ..self.setup() }),
        ] {
            self.refused(what, setup, |error| matches!(error, EngineError::Spec { .. }))?;
        }
        Ok(())
    }

    /// An overlay of another size, which only the engine can tell, and states that are none.
    fn other_files(&self) -> Result<(), Failure> {
        let create = |base: &str| {
            self.engine.create_overlay(&self.folder, &FileName::new(OVERLAY)?, &FileName::new(base)?)
        };
        expect("an overlay that is there is not made anew", create(WRITABLE).is_err(), true)?;
        let overlay_over = |base: &str| -> Result<(), Failure> {
            fs::remove_file(self.folder.join(OVERLAY))?;
            Ok(create(base)?)
        };
        File::create(self.folder.join("larger"))?.set_len(self.bench.writable_size * 2)?;
        overlay_over("larger")?;
        let refused_late = |error: &EngineError| matches!(error, EngineError::Attachment { .. });
        self.refused("an overlay of another size", self.setup(), refused_late)?;
        overlay_over(WRITABLE)?;

        let path = self.folder.join(STATE);
        let mut bytes = fs::read(&path)?;
        // A link to what was frozen: written to, it would spoil the bench.
        fs::remove_file(&path)?;
        fs::write(&path, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
        self.refused("half a state", self.setup(), |_| true)?;
        bytes.iter_mut().take(1).for_each(|byte| *byte = b'X');
        fs::write(&path, bytes)?;
        self.refused("no state", self.setup(), |error| matches!(error, EngineError::State { .. }))
    }
}
