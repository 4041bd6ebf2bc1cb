//! KVM is used where a guest runs on it, without being asked for: by a bake, and by a fork of what was pulled. Where it
//! works is what few machines that test can say, so here QEMU gets an emulator instead; all else is as it is with KVM.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::fs::File;

use harness::needs::{Need, say_skipped, skipped};
use harness::shared::{Shared, seed_cache};
use harness::{Spore, files, qemu, recipes};

/// A QEMU with a KVM, as far as one can see. Who boots without a pause tries it: an emulated guest might be too slow to
/// convince, so its kernel and initrd are only read, from where that QEMU may read, and the agent's line is ours.
const EMULATED: &str = r#"#!/bin/sh
last= paused=
for word; do
    shift
    case $last$word in
    -accelkvm) word=tcg,thread=multi ;;
    -cpu*,enforce) word=Haswell-noTSX,-cx16,-erms,-invpcid,-pcid,-tsc-deadline,-x2apic ;;
    -kernel*) kernel=$word ;;
    -initrd*) initrd=$word ;;
    *-S | *-version | *help) paused=yes ;;
    esac
    last=$word
    set -- "$@" "$word"
done
if [ -z "$paused" ]; then
    cat "$kernel" "$initrd" >/dev/null && echo "spore agent: begins" >console.log
    exec sleep 60
fi
exec QEMU "$@"
"#;

#[test]
fn kvm_is_used_where_guests_run_on_it() {
    let name = "accelerators_are_tried";
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        say_skipped(name, "no /dev/kvm to open");
        return;
    }
    if skipped(name, &[Need::Bake]) {
        return;
    }
    // What is slow to make is there afterwards.
    Shared::of(&recipes::shipped("tiny"));
    let folder = files::scratch("qemu");
    let qemu = qemu::wrapped(folder.path(), EMULATED);
    let host = || Spore::new().env("SPORE_ACCEL", "").env("SPORE_QEMU", &qemu);
    let hub = folder.path().join("hub");

    let baking = host();
    seed_cache(baking.root());
    baking.bake(&recipes::shipped("tiny"));
    let engine = baking.json(["inspect", "tiny"])["config"]["engine"].clone();
    assert_eq!(engine["accelerator"], "kvm", "{engine}");
    baking.run(["push".as_ref(), "tiny".as_ref(), "--hub".as_ref(), hub.as_os_str()]).succeeds();

    // It has never baked.
    let forking = host();
    forking.run(["pull".as_ref(), "--hub".as_ref(), hub.as_os_str(), "tiny".as_ref()]).succeeds();
    let id = forking.fork("tiny", 1).remove(0);
    assert_eq!(forking.sh(&id, "hostname"), id);
}
