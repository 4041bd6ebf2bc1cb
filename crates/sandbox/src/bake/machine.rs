//! The VMs of a bake: one in which the recipe's build commands run, and one that is warmed and frozen.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use agent_protocol::{Exec, Reply, Request};
use engine::{
    AGENT_SOCKET, BootSpec, CONSOLE_LOG, Description, Disk, DiskFormat, Engine, FileName, MEMORY_FILE,
    MemoryMode, NetworkMode, Setup, Vm,
};
use format::config::{Kernel, Machine, Profile, layer_id};
use host::Deadline;
use rootfs::Recipe;

use super::base::Base;
use super::{Bake, accelerator, guest, network, tail};
use crate::channel::{ChannelError, Peer};
use crate::error::At;
use crate::session::{Event, Session};
use crate::{Channel, Error, layout};

/// How long a guest may take from its kernel's first instruction to its agent's greeting.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);
/// How long a guest may take to flush its disks, and an engine to write its state.
const FREEZE_DEADLINE: Duration = Duration::from_secs(120);
/// How often an interruption is looked for.
const GLANCE: Duration = Duration::from_millis(100);
/// How much of a build command's output is shown when it fails, in bytes.
const OUTPUT_BYTES: usize = 4000;

/// A warm guest that was frozen: its state, memory and disks lie in the work folder, and nothing runs.
pub(super) struct Frozen {
    pub(super) machine: Machine,
    pub(super) description: Description,
    pub(super) memory: PathBuf,
    pub(super) state: PathBuf,
    pub(super) writable: PathBuf,
}

impl Frozen {
    pub(super) fn make(
        bake: &Bake<'_>,
        engine: &dyn Engine,
        work: &Path,
        base: &Base,
    ) -> Result<Self, Error> {
        let (recipe, accelerator) = (bake.recipe, accelerator(engine));
        let machine = machine(recipe, base.layers.len(), guest::command_line(recipe, accelerator));
        let description = engine.describe(accelerator);
        let disks = disks(recipe, base)?;
        let bench = Bench { bake, engine, work, machine: &machine, description: &description, disks };
        if !recipe.build.commands.is_empty() {
            bench.build()?;
        }
        bench.warm_and_freeze()?;
        Ok(Self {
            memory: work.join(MEMORY_FILE),
            state: work.join(layout::STATE_FILE),
            writable: work.join(guest::WRITABLE_FILE),
            machine,
            description,
        })
    }
}

fn machine(recipe: &Recipe, layers: usize, command_line: String) -> Machine {
    let profile = Profile::Q35V1;
    // The blobs are known when the snapshot is captured.
    let unknown = format::Digest::from_bytes([0; 32]);
    Machine {
        profile,
        vcpus: recipe.machine.vcpus.into(),
        memory: profile.memory_regions(recipe.machine.memory.bytes()),
        devices: profile.devices(u8::try_from(layers).unwrap_or(u8::MAX)),
        network: guest::network(),
        kernel: Kernel { command_line, image: unknown, initrd: unknown },
    }
}

fn disks(recipe: &Recipe, base: &Base) -> Result<Vec<Disk>, Error> {
    let mut disks = Vec::new();
    for (number, size) in (0..).zip(&base.sizes) {
        let id = layer_id(number);
        let file = FileName::new(id.clone())?;
        disks.push(Disk { id, file, size: *size, format: DiskFormat::Raw, read_only: true });
    }
    let file = FileName::new(guest::WRITABLE_FILE)?;
    let size = recipe.machine.disk.bytes();
    disks.push(Disk { id: "writable".to_owned(), file, size, format: DiskFormat::Raw, read_only: false });
    Ok(disks)
}

/// Where VMs of a bake are started.
struct Bench<'a> {
    bake: &'a Bake<'a>,
    engine: &'a dyn Engine,
    work: &'a Path,
    machine: &'a Machine,
    description: &'a Description,
    disks: Vec<Disk>,
}

/// A VM that is ended when this is dropped.
struct Guest {
    vm: Box<dyn Vm>,
    channel: Option<Channel>,
    console: PathBuf,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.vm.kill(Deadline::after(crate::limits::KILL_DEADLINE)).ok();
    }
}

impl Bench<'_> {
    /// Boots a guest, waits until its agent answers, and does `act` with it. An interruption ends the guest, so that whatever
    /// is being waited for fails at once.
    fn with_guest(
        &self,
        network: NetworkMode,
        act: impl FnOnce(&mut Guest) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let deadline = Deadline::after(BOOT_DEADLINE);
        let mut guest = self.boot(network, deadline)?;
        let process = guest.vm.process();
        let interrupted = self.bake.interrupted;
        let (working, done) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while done.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                    if interrupted.load(Ordering::Relaxed) {
                        // If it cannot be ended now, the next round, or the guest's drop, does it.
                        process.kill().ok();
                    }
                }
            });
            let result = guest.greet(self.work, deadline).and_then(|()| act(&mut guest));
            drop(working);
            result
        })
    }

    fn boot(&self, network: NetworkMode, deadline: Deadline) -> Result<Guest, Error> {
        let memory = self.work.join(MEMORY_FILE);
        let file = File::create(&memory).at("create", &memory)?;
        file.set_len(self.machine.memory_size()).at("size", &memory)?;
        let setup = Setup {
            folder: self.work,
            machine: self.machine,
            engine: self.description,
            disks: &self.disks,
            network,
            memory: MemoryMode::Shared,
            deadline,
        };
        let (kernel, initrd) = (FileName::new(guest::KERNEL_FILE)?, FileName::new(guest::INITRD_FILE)?);
        let vm = self.engine.boot(&BootSpec { setup, kernel: &kernel, initrd: &initrd })?;
        Ok(Guest { vm, channel: None, console: self.work.join(CONSOLE_LOG) })
    }

    /// Runs the recipe's build commands in a guest that then shuts down, so that nothing but the disk remembers them.
    fn build(&self) -> Result<(), Error> {
        let Bake { recipe, progress, .. } = *self.bake;
        progress.stage("build", "booting");
        self.with_guest(network(recipe.build.network), |guest| {
            let deadline = Deadline::after(recipe.build.timeout.duration());
            for command in &recipe.build.commands {
                progress.stage("build", command);
                guest.run(command, deadline)?;
            }
            let deadline = Deadline::after(FREEZE_DEADLINE);
            // Tells of writes that were lost and that no command has waited for. An end does not.
            guest.ask("building", &Request::Sync {}, deadline)?;
            guest.ask_quiet("building", &Request::Shutdown {}, deadline)?;
            guest.vm.wait_exit(deadline)?;
            Ok(())
        })
    }

    fn warm_and_freeze(&self) -> Result<(), Error> {
        let Bake { recipe, progress, .. } = *self.bake;
        progress.stage("boot", "booting the guest");
        self.with_guest(NetworkMode::None, |guest| {
            if let Some(warm) = &recipe.warm {
                progress.stage("warm", "waiting for the warm process to be ready");
                let wait = warm.deadline.duration();
                let deadline_ms = guest::milliseconds(wait);
                guest.ask(
                    "warming",
                    &Request::Warm { deadline_ms },
                    Deadline::after(wait + Duration::from_secs(10)),
                )?;
            }
            progress.stage("freeze", "freezing the guest");
            let deadline = Deadline::after(FREEZE_DEADLINE);
            guest.ask("freezing", &Request::Sync {}, deadline)?;
            guest.vm.freeze(&FileName::new(layout::STATE_FILE)?, deadline)?;
            guest.vm.kill(deadline)?;
            Ok(())
        })
    }
}

impl Guest {
    /// Lets the guest run, and greets its agent.
    fn greet(&mut self, work: &Path, deadline: Deadline) -> Result<(), Error> {
        let stream = host::socket::connect_in(work, AGENT_SOCKET).at("connect to the agent in", work)?;
        let mut channel = Channel::new(stream).at("connect to the agent in", work)?;
        self.vm.resume(deadline)?;
        let greeted = channel
            .greet(Peer::Waiting, Some(&Request::Ping {}), deadline)
            .and_then(|()| channel.answer(deadline).map(drop));
        greeted.map_err(|error| self.explain("booting", error))?;
        self.channel = Some(channel);
        Ok(())
    }

    fn agent(&mut self) -> Result<&mut Channel, Error> {
        self.channel.as_mut().ok_or_else(|| Error::Format("the guest has no agent".to_owned()))
    }

    fn ask(&mut self, during: &str, request: &Request, deadline: Deadline) -> Result<Reply, Error> {
        self.agent()?.ask(request, deadline).map_err(|error| self.explain(during, error))
    }

    /// Asks an agent that has synced, and therefore hears nothing but a greeting.
    fn ask_quiet(&mut self, during: &str, request: &Request, deadline: Deadline) -> Result<(), Error> {
        let agent = self.agent()?;
        let asked = agent.greet(Peer::Waiting, Some(request), deadline);
        asked.and_then(|()| agent.answer(deadline).map(drop)).map_err(|error| self.explain(during, error))
    }

    /// What an agent that says no more means: mostly that the guest has ended, and its console knows why.
    fn explain(&mut self, during: &str, error: ChannelError) -> Error {
        match error {
            ChannelError::Closed | ChannelError::Timeout => Error::GuestEnded {
                during: during.to_owned(),
                reason: error.to_string(),
                console: tail(&self.console),
            },
            source => Error::Agent { what: during.to_owned(), source },
        }
    }

    fn run(&mut self, command: &str, deadline: Deadline) -> Result<(), Error> {
        let channel =
            self.channel.take().ok_or_else(|| Error::Format("the guest has no agent".to_owned()))?;
        let argv = ["/bin/sh", "-e", "-c", command].map(str::to_owned).to_vec();
        // Whatever an image says of the processes in it: what is built belongs to root.
        let (user, cwd) = (Some("0".to_owned()), Some("/".to_owned()));
        let request = Request::Exec(Exec { argv, user, cwd, ..Exec::default() });
        let mut output = Vec::new();
        let mut session =
            Session::start(channel, &request).map_err(|error| self.explain("building", error))?;
        let status = loop {
            match session.next(deadline).map_err(|error| self.explain("building", error))? {
                Event::Stdout(bytes) | Event::Stderr(bytes) => {
                    output.extend(bytes);
                    output.drain(..output.len().saturating_sub(OUTPUT_BYTES));
                }
                Event::Exit(status) => break status.shell_status(),
                Event::Failed(failure) => {
                    output.extend(failure.message.into_bytes());
                    break failure.kind.shell_status();
                }
            }
        };
        self.channel = Some(session.into_channel());
        if status == 0 {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        Err(Error::BuildCommand { command: command.to_owned(), status, output })
    }
}
