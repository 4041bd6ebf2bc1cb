//! What forks see, and how they end.

use std::time::{Duration, Instant};

use host::{Deadline, usage};

use super::bench::{Bench, IN_MEMORY, carrier};
use super::{Failure, Measured, expect, soon};
use crate::{Engine, EngineError, Exit, NetworkMode, Status};

impl Bench<'_> {
    /// Two forks at a time see what was frozen, and neither what the other writes; the files below stay.
    pub(super) fn forks_are_apart(&self, engine: &dyn Engine) -> Result<Measured, Failure> {
        let before = self.fingerprints()?;
        let folder = self.sandbox(engine, "measured")?;
        let begun = Instant::now();
        let mut one = self.restore(engine, folder, NetworkMode::User)?;
        let (restore, restore_cpu) = (begun.elapsed(), usage(one.vm.process())?.cpu);
        expect("a restored VM is paused", one.vm.status(soon())?, Status::Paused)?;
        let begun = Instant::now();
        one.vm.resume(soon())?;
        one.driver.ready(&one.folder, soon())?;
        let (answer, answer_cpu) = (begun.elapsed(), usage(one.vm.process())?.cpu);
        let mut two = self.fork(engine, "two", NetworkMode::User)?;
        let file = self.guest.writable_file;
        for (fork, name) in [(&mut one, "one"), (&mut two, "two")] {
            expect("memory is as frozen", fork.ask(&format!("cat {IN_MEMORY}"))?, "frozen")?;
            expect("the disk is as frozen", fork.ask(&format!("head -n 1 {file}"))?, "frozen")?;
            fork.ask(&format!("echo {name} > {file}; echo {name} > {IN_MEMORY}; sync"))?;
            fork.ask("echo 3 > /proc/sys/vm/drop_caches")?;
        }
        for (fork, name) in [(&mut one, "one"), (&mut two, "two")] {
            expect("memory is a fork's own", fork.ask(&format!("cat {IN_MEMORY}"))?, name)?;
            expect("the disk is a fork's own", fork.ask(&format!("head -n 1 {file}"))?, name)?;
        }
        one.end()?;
        two.end()?;
        expect("the files below are unchanged", self.fingerprints()?, before)?;
        Ok(Measured { restore, restore_cpu, answer, answer_cpu, freeze: Duration::ZERO })
    }

    pub(super) fn network_may_differ(
        &self,
        engine: &dyn Engine,
        network: NetworkMode,
    ) -> Result<(), Failure> {
        let mut fork = self.fork(engine, "network", network)?;
        let seen = carrier(fork.driver.as_mut(), network, soon());
        fork.end()?;
        seen
    }

    /// A VM whose holder is gone can be taken up by the next, and by nobody while it is held.
    pub(super) fn held_by_one_at_a_time(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let mut fork = self.fork(engine, "held", NetworkMode::None)?;
        let process = fork.vm.process();
        let attached = fork.vm.attachments().to_vec();
        let second = engine.attach(&fork.folder, process, Deadline::after(Duration::from_millis(300)));
        expect("a held VM is not shared", matches!(second, Err(EngineError::Timeout(_))), true)?;
        drop(fork.vm);
        fork.vm = engine.attach(&fork.folder, process, soon())?;
        expect("it runs on", fork.vm.status(soon())?, Status::Running)?;
        expect("it has the same disks", fork.vm.attachments(), attached.as_slice())?;
        fork.vm.pause(soon())?;
        expect("it can be paused", fork.vm.status(soon())?, Status::Paused)?;
        fork.end()?;
        let gone = engine.attach(&self.folder.join("held"), process, soon());
        expect("a dead VM can't be taken up", gone.is_err(), true)
    }

    /// A write that the host has no room for fails in the guest, which runs on with all that it had.
    pub(super) fn full_disk_is_an_error(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let mut fork = self.fork(engine, "full", NetworkMode::None)?;
        let file = self.guest.writable_file;
        let write = format!("dd if=/dev/zero of={file} bs=64k seek=1 count=64 conv=notrunc,fsync");
        let said = fork.ask(&format!("{write} && echo written || echo failed"))?;
        expect(&format!("a write without room ({said})"), said.ends_with("failed"), true)?;
        expect("it runs on", fork.vm.status(soon())?, Status::Running)?;
        fork.ask("echo 3 > /proc/sys/vm/drop_caches")?;
        expect("what it had is there", fork.ask(&format!("head -n 1 {file}"))?, "frozen")?;
        fork.end()
    }

    pub(super) fn shutdown_is_noticed(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let mut fork = self.fork(engine, "shutdown", NetworkMode::None)?;
        let running = fork.vm.wait_exit(Deadline::after(Duration::from_millis(100)));
        expect("a running VM has not ended", matches!(running, Err(EngineError::Timeout(_))), true)?;
        // The guest is gone before it can answer.
        fork.driver.ask("echo b > /proc/sysrq-trigger", Deadline::after(Duration::from_secs(1))).ok();
        let exit = fork.vm.wait_exit(soon())?;
        expect("a restart ends it", matches!(exit, Exit::Guest { .. }), true)?;
        fork.end()
    }
}
