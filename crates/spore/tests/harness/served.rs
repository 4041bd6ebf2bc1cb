//! `spore hub serve` on a free port of loopback.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Spore;
use super::run::DEADLINE;

/// A server that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Served {
    child: Child,
    pub url: String,
    log: PathBuf,
}

impl Served {
    /// Waits until it says where it listens. Its log lies beside the folder.
    #[track_caller]
    pub fn start(spore: &Spore, folder: &Path, args: &[&str]) -> Self {
        let log = folder.with_extension("log");
        let mut run = spore.command(["hub", "serve", "--listen", "127.0.0.1:0"]).args([folder]).args(args);
        let command = run.command().stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = || format!("{line:?}; {}", fs::read_to_string(&log).unwrap());
        let url = line
            .trim()
            .rsplit(' ')
            .next()
            .filter(|url| url.starts_with("http"))
            .unwrap_or_else(|| panic!("{}", said()));
        Self { url: url.to_owned(), child, log }
    }

    /// Host and port, as references have them.
    pub fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Ctrl-C, and its end.
    pub fn interrupt(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let end = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
