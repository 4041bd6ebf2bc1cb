//! A control socket that answers as a test says, for what a real QEMU can't be made to do; and what tests run
//! on it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};

use format::config::{
    Accelerator, Cpu, EngineKind, Kernel, MacAddress, Machine, Network, Profile, StateFormat,
};
use host::{ProcessId, Spawn};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::qmp::{QMP_SOCKET, Qmp};
use crate::Description;

/// What the fake does on a command.
pub(super) enum Reply {
    /// Answers it; events may come before.
    Answer(Value, Vec<Value>),
    /// Refuses it.
    Refuse(&'static str),
    /// Says nothing.
    Silence,
    /// Closes the socket.
    Close,
}

/// A process that does nothing, and the socket that speaks for it.
pub(super) struct Fake {
    pub(super) folder: TempDir,
    pub(super) process: ProcessId,
    commands: Receiver<String>,
}

impl Fake {
    pub(super) fn start(reply: impl Fn(&str) -> Reply + Send + 'static) -> (Self, Qmp) {
        let folder = tempfile::tempdir().unwrap();
        let opened = host::socket::folder(folder.path()).unwrap();
        let listener = host::socket::bind(opened.as_fd(), QMP_SOCKET).unwrap();
        let (sender, commands) = channel();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(b"{\"QMP\": {}}\n").unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
                let command = message["execute"].as_str().unwrap().to_owned();
                let reply = reply(&command);
                sender.send(command).ok();
                let mut say = |value: Value| writeln!(stream, "{value}").ok();
                match reply {
                    Reply::Answer(result, events) => {
                        for event in events {
                            say(event);
                        }
                        say(json!({ "return": result, "id": message["id"] }));
                    }
                    Reply::Refuse(why) => {
                        say(
                            json!({ "error": { "class": "GenericError", "desc": why }, "id": message["id"] }),
                        );
                    }
                    Reply::Silence => {}
                    Reply::Close => return,
                }
            }
        });
        let output = File::create(folder.path().join(crate::ENGINE_LOG)).unwrap();
        let process = host::spawn(&Spawn {
            program: "/bin/sleep".as_ref(),
            arguments: &["1000".to_owned()],
            folder: folder.path(),
            output: &output,
            inherit: &[],
            environment: &[],
            confinement: None,
            die_with_parent: true,
        });
        let qmp = Qmp::connect(folder.path()).unwrap();
        (Self { folder, process: process.unwrap(), commands }, qmp)
    }

    /// What was asked so far.
    pub(super) fn commands(&self) -> Vec<String> {
        self.commands.try_iter().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait(host::Deadline::after(std::time::Duration::from_secs(10))).ok();
    }
}

/// A machine with so many layers.
pub(super) fn machine(layers: u8) -> Machine {
    let profile = Profile::Q35V1;
    Machine {
        profile,
        vcpus: 2,
        memory: profile.memory_regions(512 << 20),
        devices: profile.devices(layers),
        network: Network {
            mac: MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            gateway: [10, 0, 2, 2].into(),
            dns: [10, 0, 2, 3].into(),
        },
        kernel: Kernel {
            command_line: "console=ttyS0 quiet".to_owned(),
            image: format::Digest::of(b"kernel"),
            initrd: format::Digest::of(b"initrd"),
        },
    }
}

/// What it runs on.
pub(super) fn engine(accelerator: Accelerator) -> Description {
    Description {
        kind: EngineKind::Qemu,
        version: "10.0.2".to_owned(),
        machine_type: "pc-q35-7.2".to_owned(),
        accelerator,
        cpu: Cpu {
            model: "Haswell-noTSX".to_owned(),
            features: vec!["-cx16".to_owned(), "-pcid".to_owned()],
        },
        state_format: StateFormat::QemuDevicesV1,
    }
}
