//! `-p`: a port here leads to a port of the guest, which has no network.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::guest::{Guest, TINY, kill_supervisor};
use crate::harness::needs::{Need, skipped};
use crate::harness::run::{DEADLINE, in_parallel};
use crate::harness::shared::Shared;
use crate::harness::spore::strings;
use crate::harness::{Spore, processes, recipes};

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
}

/// A sandbox with these ports of the guest led to, and where.
fn forked(test: &str, ports: &[u16]) -> Option<(Guest, Vec<SocketAddr>)> {
    if skipped(&format!("exec_and_eval::{test}"), &[Need::Bake]) {
        return None;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let published = ports.iter().flat_map(|port| ["-p".to_owned(), format!("0:{port}")]);
    let words: Vec<_> = ["fork".to_owned(), snapshot].into_iter().chain(published).collect();
    let forked = spore.json(&words)["sandboxes"][0].clone();
    let id = forked["id"].as_str().expect("an id").to_owned();
    let address =
        |port: &Value| port["host"].as_str().and_then(|host| host.parse().ok()).expect("an address");
    let addresses = forked["ports"].as_array().expect("ports").iter().map(address).collect();
    Some((Guest { spore, id }, addresses))
}

impl Guest {
    /// Runs a program for every connection to a port of the guest, and waits until it answers.
    #[track_caller]
    fn serve(&self, listen: &str, program: &str, reached_at: SocketAddr) {
        self.sh(&format!("nc -ll {listen} -e {program} >/dev/null 2>&1 </dev/null &"));
        let begun = Instant::now();
        while ask(reached_at, b"hello").is_empty() {
            assert!(begun.elapsed() < DEADLINE, "it never listens");
        }
    }
}

/// The server answers while it is still asked, and the caller reads nothing before it has said all.
#[test]
fn both_directions_can_be_busy() {
    const UPLOAD: usize = 8 << 20;
    const ANSWER: usize = 12_000_000;
    let Some((guest, ports)) = forked("both_directions_can_be_busy", &[7]) else { return };
    guest.sh(&format!(
        "printf '#!/bin/sh\\nyes | head -c {ANSWER} & wc -c >>/tmp/came\\nwait\\n' >/tmp/server; chmod +x /tmp/server"
    ));
    guest.serve("-p 7", "/tmp/server", ports[0]);
    guest.sh(">/tmp/came");
    let answer = ask(ports[0], &vec![1; UPLOAD]);
    assert_eq!(answer.len(), ANSWER);
    assert_eq!(guest.sh("cat /tmp/came"), UPLOAD.to_string());
}

/// Whoever reaches a port is not the sandbox's owner.
#[test]
fn callers_do_not_lock_the_owner_out() {
    const CALLERS: usize = 300;
    let Some((guest, ports)) = forked("callers_do_not_lock_the_owner_out", &[7]) else { return };
    guest.serve("-p 7", "cat", ports[0]);
    // More than may wait to be accepted do not even connect.
    let connect = |_| TcpStream::connect_timeout(&ports[0], Duration::from_millis(100)).ok();
    let callers: Vec<_> = (0..CALLERS).filter_map(connect).collect();
    let served = |caller: &TcpStream, within: Duration| {
        let mut caller = caller;
        caller.set_read_timeout(Some(within)).expect("a time");
        caller.write_all(b"x").is_ok() && matches!(caller.read(&mut [0]), Ok(1))
    };
    assert!(callers.len() > 128 && served(&callers[0], DEADLINE), "{} have connected", callers.len());
    assert_eq!(guest.sh("echo here"), "here");
    let last = &callers[callers.len() - 1];
    assert!(!served(last, Duration::from_millis(200)), "so many are served");
    let own = processes::anonymous_kib(&guest.spore.json(["ps"])["sandboxes"][0]["supervisor_pid"]);
    println!("{} callers: {own} KiB of a supervisor are its own", callers.len());
    assert!(own < 8 << 10);
    drop(callers);
    let begun = Instant::now();
    while ask(ports[0], b"hello") != b"hello" {
        assert!(begun.elapsed() < DEADLINE, "those that have gone are still served");
    }
}

#[test]
fn a_new_supervisor_listens_where_the_last_one_did() {
    let Some((guest, ports)) = forked("a_new_supervisor_listens_where_the_last_one_did", &[7, 7]) else {
        return;
    };
    guest.serve("-p 7", "cat", ports[0]);
    let hosts = |field: &str| strings(&guest.spore.json(["ps"])["sandboxes"][0][field], "host");
    kill_supervisor(&guest.spore);
    let taken = TcpListener::bind(ports[0]).expect("nobody listens there");
    guest.sh("true");
    assert_eq!(ask(ports[1], b"again"), b"again");
    assert_eq!(hosts("ports"), [ports[1].to_string()], "what somebody else has is not said to lead there");
    let log = guest.spore.root().join("sandboxes").join(&guest.id).join("supervisor.log");
    let said = std::fs::read_to_string(log).expect("a log");
    assert!(said.contains(&ports[0].to_string()), "{said}");
    drop(taken);
    kill_supervisor(&guest.spore);
    guest.sh("true");
    assert!(ports.iter().all(|port| ask(*port, b"again") == b"again"));
    assert_eq!(hosts("ports").len(), 2);
}

#[test]
fn idleness_outlives_the_supervisor() {
    if skipped("exec_and_eval::idleness_outlives_the_supervisor", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let id = spore.json(["fork", &snapshot, "--idle", "1h"])["sandboxes"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    spore.sh(&id, "true");
    kill_supervisor(&spore);
    // More than an hour passes.
    let activity = spore.root().join("sandboxes").join(&id).join("activity");
    let noted = File::options().write(true).open(activity).expect("what a supervisor has noted");
    noted.set_modified(SystemTime::now() - Duration::from_secs(3700)).expect("its time can be set");
    // Whoever looks ends it, and nobody else is there to.
    assert_is_idle_at_last(&spore);
}

#[track_caller]
fn assert_is_idle_at_last(spore: &Spore) {
    let begun = Instant::now();
    loop {
        let listed = spore.json(["ps", "--all"]);
        // An engine is gone for a moment before it is noted why.
        let reason = listed["sandboxes"][0]["status"]["dead"]["reason"].as_str();
        if reason.is_some_and(|reason| reason.contains("idle")) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{listed}");
    }
}

#[test]
fn an_idle_sandbox_ends() {
    if skipped("exec_and_eval::an_idle_sandbox_ends", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let forked = spore.json(["fork", &snapshot, "--idle", "10s"]);
    let id = forked["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    // Longer than its limit, and not idle.
    spore.sh(&id, "sleep 12");
    spore.sh(&id, "true");
    assert!(!spore.run(["ps"]).succeeds().text().contains("PORTS"));
    assert_is_idle_at_last(&spore);
}
