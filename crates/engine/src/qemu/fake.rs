//! A control socket that answers as a test says, for what a real QEMU can't be made to do.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};

use host::{ProcessId, Spawn};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::qmp::{QMP_SOCKET, Qmp};

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
