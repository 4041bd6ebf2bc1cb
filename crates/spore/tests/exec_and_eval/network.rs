//! `--network`: a guest reaches the host's network when it was asked for, and has its cable pulled otherwise.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use crate::guest::TINY;
use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, recipes};

#[test]
fn the_network_is_there_when_asked_for() {
    if skipped("exec_and_eval::the_network_is_there_when_asked_for", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be listened on");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|mut caller| caller.write_all(b"hello\n").unwrap_or_default());
    });
    // The gateway of the guest's own network is the host's loopback.
    let call = format!("nc -w 60 10.0.2.2 {port} </dev/null");
    let run =
        |options: &[&str]| spore.run([&["run", &snapshot], options, &["--", "sh", "-c", &call]].concat());
    assert_eq!(run(&["--network"]).succeeds().text(), "hello");
    let refused = run(&[]);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused}");

    let forked = spore.json(["fork", &snapshot, "--network"]);
    let id = forked["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(spore.sh(&id, &call), "hello");
}
