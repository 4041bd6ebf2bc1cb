//! Processes and sockets as the kernel really treats them.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use host::{Deadline, ProcessError, ProcessId, Spawn, spawn, usage};

fn shell(folder: &Path, script: &str, inherit: &[BorrowedFd<'_>]) -> ProcessId {
    let output = File::create(folder.join("output")).unwrap();
    let arguments = ["-c".to_owned(), script.to_owned()];
    let program = "/bin/sh".as_ref();
    let spec = Spawn {
        program,
        arguments: &arguments,
        folder,
        output: &output,
        inherit,
        environment: &["PATH"],
        confinement: None,
        die_with_parent: true,
    };
    spawn(&spec).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

#[test]
fn a_killed_process_is_gone_and_leaves_no_zombie() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exec sleep 1000", &[]);
    assert!(process.is_alive());
    assert_eq!(ProcessId::of(process.pid).unwrap(), process);
    let begun = Instant::now();
    let error = process.wait(Deadline::after(Duration::from_millis(50))).unwrap_err();
    assert!(matches!(error, ProcessError::Timeout(_)) && begun.elapsed() >= Duration::from_millis(50));
    process.kill().unwrap();
    process.wait(soon()).unwrap();
    assert!(!process.is_alive());
    assert!(!Path::new(&format!("/proc/{}", process.pid)).exists());
    process.kill().unwrap();
    process.wait(soon()).unwrap();
}

#[test]
fn a_zombie_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exit 3", &[]);
    let until = soon();
    while process.is_alive() {
        assert!(until.remaining().is_some());
        std::thread::yield_now();
    }
    // Nobody has waited for it: its pid is still taken.
    assert!(Path::new(&format!("/proc/{}", process.pid)).exists());
    assert!(matches!(process.open(), Err(ProcessError::Gone(_))));
    process.wait(soon()).unwrap();
    assert!(!Path::new(&format!("/proc/{}", process.pid)).exists());
}

#[test]
fn a_reused_pid_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exec sleep 1000", &[]);
    let earlier = ProcessId { start_time: process.start_time - 1, ..process };
    assert!(!earlier.is_alive());
    earlier.kill().unwrap();
    earlier.wait(soon()).unwrap();
    assert!(usage(earlier).is_err());
    assert!(process.is_alive());
    process.kill().unwrap();
    process.wait(soon()).unwrap();
}

#[test]
fn a_name_with_blanks_and_parentheses_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a) b (c");
    // By another process: a file that this one has open for writing, while a test beside this one forks, can't
    // be executed.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
    let output = File::create(folder.path().join("output")).unwrap();
    let arguments = ["1000".to_owned()];
    let (program, folder) = (program.as_path(), folder.path());
    let spec = Spawn {
        program,
        arguments: &arguments,
        folder,
        output: &output,
        inherit: &[],
        environment: &[],
        confinement: None,
        die_with_parent: true,
    };
    let process = spawn(&spec).unwrap();
    assert_eq!(ProcessId::of(process.pid).unwrap(), process);
    process.kill().unwrap();
    process.wait(soon()).unwrap();
}

#[test]
fn a_process_inherits_what_it_is_given_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, given) = std::io::pipe().unwrap();
    // As a careless caller would leave it open, under a number that nobody else has by chance.
    let leaked = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), 200).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let script = format!(
        "cat /proc/self/stat | cut -d' ' -f 6 > session; echo $$ > pid; pwd -P > cwd; ls /proc/self/fd > open; tr '\\0' '\\n' < /proc/$$/environ > environment; echo hi > /proc/self/fd/{}",
        given.as_raw_fd()
    );
    let process = shell(folder.path(), &script, &[given.as_fd()]);
    drop(given);
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    process.wait(soon()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(said, "hi\n", "{}", read("output"));
    let variables = read("environment");
    assert!(variables.lines().all(|line| line.starts_with("PATH=")), "{variables}");
    let open: Vec<i32> = read("open").lines().map(|fd| fd.parse().unwrap()).collect();
    assert!(!open.contains(&leaked.as_raw_fd()), "{open:?}");
    assert_eq!(read("session"), read("pid"));
    assert_eq!(Path::new(read("cwd").trim()), fs::canonicalize(folder.path()).unwrap());
}

#[test]
fn a_confined_process_reaches_what_it_is_allowed_and_nothing_else() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "of the user").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let system: Vec<_> = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"].map(Path::new).to_vec();
    let allowed = host::Allowed {
        read: system,
        write: vec![folder.path()],
        devices: vec![Path::new("/dev/null")],
        network: false,
    };
    let Some(confinement) = host::Confinement::new(&allowed).unwrap() else {
        println!("skipped: process::a_confined_process: this kernel has no Landlock");
        return;
    };
    let script = format!(
        "echo x > own; cat {outside}/secret; echo x > {outside}/new; rm own; ls /home; kill -0 {pid}; \
         (echo x > /dev/tcp/127.0.0.1/{port}) && echo connected; echo end > own; echo done",
        outside = outside.path().display(),
        pid = std::process::id(),
        port = server.local_addr().unwrap().port(),
    );
    let output = File::create(folder.path().join("output")).unwrap();
    let run = |confinement: Option<&host::Confinement>| {
        let spec = Spawn {
            program: "/bin/bash".as_ref(),
            arguments: &["-c".to_owned(), script.clone()],
            folder: folder.path(),
            output: &output,
            inherit: &[],
            environment: &["PATH"],
            confinement,
            die_with_parent: true,
        };
        output.set_len(0).unwrap();
        spawn(&spec).unwrap().wait(soon()).unwrap();
        fs::read_to_string(folder.path().join("output")).unwrap()
    };
    let said = run(Some(&confinement));
    assert!(said.contains("done") && !said.contains("of the user") && !said.contains("connected"), "{said}");
    for refused in
        ["secret: Permission", "new: Permission", "cannot remove", "cannot open directory", "connect:"]
    {
        assert!(said.contains(refused), "{refused}: {said}");
    }
    assert!(said.contains("not permitted"), "no signals: {said}");
    assert!(!outside.path().join("new").exists());
    assert_eq!(fs::read_to_string(folder.path().join("own")).unwrap(), "end\n");
    let said = run(None);
    assert!(said.contains("of the user") && said.contains("connected") && !said.contains("denied"), "{said}");
}

#[test]
fn what_can_not_be_started_is_an_error() {
    let output = tempfile::tempfile().unwrap();
    let nowhere = Path::new("/nowhere/at/all");
    let spec = |program, folder| Spawn {
        program,
        arguments: &[],
        folder,
        output: &output,
        inherit: &[],
        environment: &[],
        confinement: None,
        die_with_parent: false,
    };
    assert!(spawn(&spec(nowhere, Path::new("/"))).is_err());
    assert!(spawn(&spec(Path::new("/bin/true"), nowhere)).is_err());
}

#[test]
fn detached_processes_of_a_folder_are_found_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = tempfile::tempfile().unwrap();
    let spec = host::Spawn {
        program: std::path::Path::new("/bin/sleep"),
        arguments: &["60".to_owned()],
        folder: folder.path(),
        output: &log,
        inherit: &[],
        environment: &[],
        confinement: None,
        die_with_parent: true,
    };
    let detached = host::spawn(&spec).unwrap();
    // What a person runs there belongs to a session that it does not lead.
    let mut ordinary =
        std::process::Command::new("/bin/sleep").arg("60").current_dir(folder.path()).spawn().unwrap();
    assert_eq!(host::detached_in(folder.path()).unwrap(), [detached]);
    detached.kill().unwrap();
    detached.wait(host::Deadline::after(std::time::Duration::from_secs(10))).unwrap();
    assert_eq!(host::detached_in(folder.path()).unwrap(), []);
    ordinary.kill().unwrap();
    ordinary.wait().unwrap();
}
