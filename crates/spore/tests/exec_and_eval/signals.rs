//! Ctrl-C reaches the command in the guest, which decides what it means.

use crate::guest::{Guest, TINY};
use crate::talk::Talk;

#[test]
fn an_interruption_reaches_the_command() {
    let Some(guest) = Guest::of(TINY, "an_interruption_reaches_the_command") else { return };
    // A signal that comes just before a shell waits is seen when that wait ends: none may be long.
    let handled = "trap 'echo caught; exit 3' INT; echo ready; while :; do /bin/sleep 1; done";
    let talk = Talk::start(guest.script(&[], handled));
    talk.hears("ready");
    talk.interrupt();
    talk.hears("caught");
    talk.ends_with(3);

    // To all of its processes, as a terminal would send it.
    let talk = Talk::start(guest.script(&[], "echo ready; /bin/sleep 1000; echo not reached"));
    talk.hears("ready");
    talk.interrupt();
    talk.ends_with(130);
    guest.wait_until("pidof sleep >/dev/null && echo runs || true", "");
}

#[test]
fn the_second_interruption_ends_what_ignores_the_first() {
    let Some(guest) = Guest::of(TINY, "the_second_interruption_ends_what_ignores_the_first") else { return };
    let stubborn = "trap 'echo no' INT; echo ready; while :; do /bin/sleep 1; done";
    let talk = Talk::start(guest.script(&[], stubborn));
    talk.hears("ready");
    talk.interrupt();
    talk.hears("no");
    talk.interrupt();
    talk.ends_with(137);
    guest.wait_until("pidof sleep >/dev/null && echo runs || true", "");
}

#[test]
fn what_a_killed_client_ran_ends() {
    let Some(guest) = Guest::of(TINY, "what_a_killed_client_ran_ends") else { return };
    let talk = Talk::start(guest.script(&[], "echo ready; /bin/sleep 1000; echo not reached"));
    talk.hears("ready");
    drop(talk);
    guest.wait_until("pidof sleep >/dev/null && echo runs || true", "");
}
