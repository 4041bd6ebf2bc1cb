//! `-p`: a port here leads to a port of the guest, which has no network.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::TINY;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::{DEADLINE, in_parallel};
use crate::harness::shared::Shared;
use crate::harness::{Spore, recipes};

/// Says something and hears the answer, to its end.
#[track_caller]
fn ask(port: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(port).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time");
    stream.write_all(question).expect("it is heard");
    stream.shutdown(Shutdown::Write).expect("it is heard");
    let mut answer = Vec::new();
    // One that is cut off has answered nothing more.
    stream.read_to_end(&mut answer).ok();
    answer
}

#[test]
fn ports_lead_into_guests() {
    if skipped("exec_and_eval::ports_lead_into_guests", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let forked = spore.json(["fork", &snapshot, "-n", "2", "-p", "0:7", "-p", "0:9"]);
    let port = |sandbox: usize, port: usize| -> SocketAddr {
        let host = &forked["sandboxes"][sandbox]["ports"][port]["host"];
        host.as_str().and_then(|host| host.parse().ok()).unwrap_or_else(|| panic!("no port in {forked}"))
    };
    let id = |sandbox: usize| forked["sandboxes"][sandbox]["id"].as_str().expect("an id").to_owned();
    assert!(port(0, 0).ip().is_loopback() && port(0, 0) != port(1, 0), "{forked}");
    // Nothing listens in the guest yet.
    assert_eq!(ask(port(0, 0), b"anybody?"), b"");
    for sandbox in [0, 1] {
        spore.sh(&id(sandbox), "nc -ll -p 7 -e cat >/dev/null 2>&1 </dev/null &");
        let begun = Instant::now();
        while ask(port(sandbox, 0), b"hello") != b"hello" {
            assert!(begun.elapsed() < DEADLINE, "it never listens");
        }
    }
    // Far more than the credit of a stream, several at once, one of them unread.
    let mut unread = TcpStream::connect(port(0, 0)).expect("somebody listens");
    unread.set_write_timeout(Some(Duration::from_secs(3))).expect("a time");
    while unread.write(&[0; 1 << 16]).is_ok() {}
    let questions: Vec<Vec<u8>> = (0..4_u8).map(|byte| vec![byte; 1 << 20]).collect();
    in_parallel(&questions, |question| {
        assert!(ask(port(0, 0), question) == *question, "it comes back whole");
    });
    drop(unread);
    let listed = spore.json(["ps"]);
    assert_eq!(listed["sandboxes"][0]["ports"].as_array().map(Vec::len), Some(2), "{listed}");

    // Standard output has ids alone; a table has what there is to say.
    let more = spore.command(["fork", &snapshot, "-p", "0:7"]).finish().succeeds();
    let (ids, error) = (spore.sandboxes(), more.error());
    assert!(ids.contains(&more.text().to_owned()), "{more}");
    assert!(
        error.starts_with(&format!("{}: 127.0.0.1:", more.text())) && error.ends_with(" -> 7\n"),
        "{more}"
    );
    let table = spore.run(["ps"]).succeeds();
    assert!(table.text().contains("PORTS") && !table.text().contains("127.0.0.1"), "{table}");
    spore.run(["kill", more.text()]).succeeds();

    // A port that is taken is named, and nothing is left of the fork.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a port").to_string();
    let wanted = format!("{address}:7");
    spore.run(["fork", &snapshot, "-p", &wanted]).exits_with(1).says(&["listen on", &address]);
    spore.run(["fork", &snapshot, "-n", "2", "-p", "8080:7"]).exits_with(2).says(&["port 0"]);
    assert_eq!(spore.sandboxes().len(), 2);

    // A new supervisor listens on the same port.
    let supervisor = listed["sandboxes"][0]["supervisor_pid"].as_i64().expect("a process");
    let of = listed["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    let which = usize::from(of != id(0));
    let supervisor = i32::try_from(supervisor).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(supervisor, Signal::KILL).expect("it runs");
    spore.sh(&of, "true");
    assert_eq!(ask(port(which, 0), b"again"), b"again");
}

#[test]
fn an_idle_sandbox_ends() {
    if skipped("exec_and_eval::an_idle_sandbox_ends", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let forked = spore.json(["fork", &snapshot, "--idle", "4s"]);
    let id = forked["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    assert!(!spore.run(["ps"]).succeeds().text().contains("PORTS"));
    // Longer than its limit, and not idle.
    spore.sh(&id, "sleep 6");
    spore.sh(&id, "true");
    let begun = Instant::now();
    loop {
        let listed = spore.json(["ps", "--all"]);
        let status = &listed["sandboxes"][0]["status"];
        if let Some(reason) = status["dead"]["reason"].as_str() {
            assert!(reason.contains("idle"), "{listed}");
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{listed}");
    }
}
