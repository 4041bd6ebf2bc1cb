//! What is put beside the guest's layers: kernel, initrd with the agent and its configuration, an empty writable disk.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use agent_protocol::{GUEST_CONFIG_VERSION, GuestConfig, Hostname, OnFork, RUN_DIR, Ready, Warm};
use format::config::{Accelerator, MacAddress, Network};
use rootfs::{Initrd, InitrdContent, Kernel, Recipe, Runner, WarmStart};

use super::BakeOptions;
use super::base::Base;
use crate::Error;
use crate::error::At;

pub(super) const KERNEL_FILE: &str = "kernel";
pub(super) const INITRD_FILE: &str = "initrd";
pub(super) const WRITABLE_FILE: &str = "writable";

/// As long as a sandbox's id, which replaces it: a file that keeps its length costs a fork the least.
const BAKE_HOSTNAME: &str = "spore-baking";
/// Milliseconds between two tries of a readiness command.
const READY_INTERVAL_MS: u64 = 100;

/// Writes what the guest is started with to the work folder.
pub(super) fn write_files(
    work: &Path,
    recipe: &Recipe,
    options: &BakeOptions<'_>,
    kernel: &Kernel,
    base: &Base,
) -> Result<(), Error> {
    let drivers = Initrd::for_kernel(kernel)?;
    let modules = drivers.modules().iter().map(rootfs::GuestModule::path).collect();
    let config = guest_config(recipe, modules, base)?;
    let guest_config = serde_json::to_vec(&config).at("write the guest's configuration in", work)?;
    let script = read_script(recipe)?;
    let mut files = options.runners.to_vec();
    files.extend(script.as_ref().map(|(runner, script)| (warm_script(*runner), &**script)));
    let content = InitrdContent { agent: options.agent, guest_config: &guest_config, files: &files };
    let initrd = work.join(INITRD_FILE);
    fs::write(&initrd, drivers.build(&content)?).at("write", &initrd)?;
    let copy = work.join(KERNEL_FILE);
    fs::copy(&kernel.image, &copy).at("copy the kernel to", &copy)?;
    rootfs::create_disk(&work.join(WRITABLE_FILE), recipe.machine.disk)?;
    Ok(())
}

/// Why each of these: docs/format.md's machine has a serial console; a guest that panics ends; the timer and the clock of
/// an emulated machine are not to be tested or watched, which costs idle CPU in every fork for ever.
///
/// An emulated processor runs nothing ahead of time that page tables of its own could keep from being seen, and to switch
/// these at each system call empties the emulator's cache of them: without, a guest's serial port is four times as fast.
pub(super) fn command_line(recipe: &Recipe, accelerator: Accelerator) -> String {
    let mut line = "console=ttyS0 quiet panic=-1 reboot=t no_timer_check tsc=reliable nowatchdog".to_owned();
    if accelerator == Accelerator::Tcg {
        line.push_str(" mitigations=off");
    }
    if recipe.machine.init_on_free {
        line.push_str(" init_on_free=1");
    }
    line
}

fn read_script(recipe: &Recipe) -> Result<Option<(Runner, Vec<u8>)>, Error> {
    match recipe.warm.as_ref().map(|warm| &warm.start) {
        Some(WarmStart::Runner { runner, script }) => {
            Ok(Some((*runner, fs::read(script.absolute()).at("read", script.absolute())?)))
        }
        _ => Ok(None),
    }
}

/// The warm-up script's name beside the runner.
fn warm_script(runner: Runner) -> &'static str {
    match runner {
        Runner::Python | Runner::Jupyter => "warm.py",
        Runner::Node => "warm.js",
    }
}

/// How a runner is started; what it takes besides is written at its head.
fn runner_command(runner: Runner) -> Vec<String> {
    let file = |name: &str| format!("{RUN_DIR}/{name}");
    let mut command = match runner {
        Runner::Python => vec!["python3".to_owned(), file("python.py")],
        Runner::Jupyter => vec!["python3".to_owned(), file("jupyter.py")],
        Runner::Node => vec!["node".to_owned(), "--no-force-async-hooks-checks".to_owned(), file("node.js")],
    };
    command.push(file(warm_script(runner)));
    command
}

fn guest_config(recipe: &Recipe, modules: Vec<String>, base: &Base) -> Result<GuestConfig, Error> {
    let network = network();
    let image = &base.defaults;
    let mut env = image.env.clone();
    env.extend(recipe.environment.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())));
    let config = GuestConfig {
        version: GUEST_CONFIG_VERSION,
        modules,
        layers: u8::try_from(base.layers.len()).unwrap_or(u8::MAX),
        writable: true,
        // What Debian's packages hold is in one layer, which hides nothing.
        userxattr: !matches!(recipe.base, rootfs::Base::Debian(_)),
        hostname: Hostname::try_from(BAKE_HOSTNAME.to_owned())
            .map_err(|error| Error::Format(error.to_string()))?,
        env,
        user: image.user.clone(),
        cwd: image.cwd.clone(),
        network: Some(agent_protocol::Network {
            address: network.address,
            prefix: network.prefix,
            gateway: network.gateway,
            dns: network.dns,
        }),
        warm: recipe.warm.as_ref().map(|recipe| warm(recipe, base)).transpose()?,
        on_fork: recipe.on_fork.as_ref().map(|on_fork| OnFork {
            argv: on_fork.command.clone(),
            deadline_ms: milliseconds(on_fork.deadline.duration()),
        }),
    };
    config.check().map_err(|error| Error::Format(error.to_string()))?;
    Ok(config)
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn warm(warm: &rootfs::Warm, base: &Base) -> Result<Warm, Error> {
    let (argv, eval) = match &warm.start {
        WarmStart::Command(argv) => (argv.clone(), false),
        WarmStart::Image => (base.defaults.command.clone(), false),
        WarmStart::Runner { runner, .. } => (runner_command(*runner), true),
    };
    let ready = match &warm.ready {
        rootfs::Ready::Runner => Ready::Runner,
        rootfs::Ready::Command(argv) => Ready::Command { argv: argv.clone(), interval_ms: READY_INTERVAL_MS },
        rootfs::Ready::File(path) => Ready::File { path: path.to_string() },
    };
    // An image's own user and folder are the guest's.
    let own = |given: Option<String>, otherwise: &str| {
        given.or_else(|| base.image.is_none().then(|| otherwise.to_owned()))
    };
    Ok(Warm {
        argv,
        env: std::collections::BTreeMap::new(),
        user: own(warm.user.clone(), "root"),
        cwd: own(warm.cwd.as_ref().map(ToString::to_string), "/"),
        ready,
        eval,
    })
}

/// The NIC of every guest: each fork has a network of its own, in which these addresses are free.
pub(super) fn network() -> Network {
    Network {
        mac: MacAddress([0x52, 0x54, 0x00, 0x53, 0x50, 0x01]),
        address: Ipv4Addr::new(10, 0, 2, 15),
        prefix: 24,
        gateway: Ipv4Addr::new(10, 0, 2, 2),
        dns: Ipv4Addr::new(10, 0, 2, 3),
    }
}
