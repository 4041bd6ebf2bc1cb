//! What a guest has, told by a script in it.

use crate::harness::Spore;
use crate::holdings::{counted, without_number};
use crate::process_table::Process;
use crate::sample::Things;

/// Prints its own number, then what is parsed below; a line `--` between.
const SCRIPT: &str = "echo $$; echo --
    grep RssAnon /proc/1/status; grep MemAvailable /proc/meminfo; echo --
    ls -l /proc/1/fd | sed -n 's/.* -> //p'; echo --
    ls /dev/pts; find / -xdev; find /tmp /run /dev/shm; echo --
    cat /proc/[0-9]*/stat 2>/dev/null || true";

/// The parent of all threads of the kernel.
const KTHREADD: u32 = 2;

/// What a guest has while nobody but this asks anything of it.
#[derive(Debug)]
pub struct Guest {
    /// How many there are of each thing.
    pub things: Things,
    /// Descriptors of the agent.
    pub open: usize,
    /// The agent's own memory.
    pub anonymous_kib: u64,
    pub available_kib: u64,
}

impl Guest {
    #[track_caller]
    pub fn of(spore: &Spore, id: &str) -> Self {
        let said = spore.sh(id, SCRIPT);
        let sections: Vec<_> = said.split("--\n").collect();
        let [own, memory, descriptors, files, processes] = sections[..] else { panic!("{said}") };
        let own: u32 = own.trim().parse().expect("a process");
        let is_of_a_program = |process: &Process| {
            ![process.pid, process.parent].contains(&KTHREADD)
                && ![process.pid, process.parent].contains(&own)
        };
        let processes = processes.lines().filter_map(Process::parse).filter(is_of_a_program);
        let described = processes.map(|process| {
            format!("{} {}", if process.is_zombie { "zombie" } else { "process" }, process.name)
        });
        let descriptors: Vec<_> = descriptors.lines().map(without_number).collect();
        let open = descriptors.len();
        let descriptors = descriptors.into_iter().map(|target| format!("descriptor {target}"));
        let files = files.lines().map(|name| format!("file {name}"));
        let things = counted(descriptors.chain(files).chain(described));
        Self {
            things: things.into_iter().map(|(what, count)| (format!("guest {id}: {what}"), count)).collect(),
            open,
            anonymous_kib: kib(memory, "RssAnon:"),
            available_kib: kib(memory, "MemAvailable:"),
        }
    }
}

#[track_caller]
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
