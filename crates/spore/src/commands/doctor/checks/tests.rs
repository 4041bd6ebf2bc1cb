//! What is judged of what was found.

use std::io;

use host::Enforced;

use super::qemu::{judge_confinement, judge_kvm};
use super::*;

#[test]
fn the_reason_why_kvm_is_not_used_is_told() {
    let denied = || Err(io::ErrorKind::PermissionDenied.into());
    for (used, chosen, device, state, words) in [
        (true, false, Ok(()), State::Ok, "a guest ran"),
        (true, true, denied(), State::Ok, "SPORE_ACCEL"),
        (false, true, Ok(()), State::Warning, "SPORE_ACCEL"),
        (false, false, Ok(()), State::Warning, "opens, but"),
        (false, false, denied(), State::Warning, "may not open"),
        (false, false, Err(io::ErrorKind::NotFound.into()), State::Warning, "cannot be opened"),
    ] {
        let check = judge_kvm(used, chosen, device);
        assert_eq!(check.state, state, "{words}");
        assert!(check.found.contains(words), "{} / {words}", check.found);
        assert_eq!(check.remedy.is_some(), state != State::Ok);
    }
}

#[test]
fn what_confines_engines_is_told() {
    let judged = |files, tcp, signals| {
        let check = judge_confinement(Enforced { files, tcp, signals });
        assert_eq!(check.remedy.is_some(), check.state != State::Ok);
        (check.state, check.found)
    };
    let (state, found) = judged(false, false, false);
    assert!(state == State::Warning && found.contains("no Landlock"), "{found}");
    assert_eq!(judged(true, true, true), (State::Ok, "Landlock: files, TCP, signals".to_owned()));
    let (state, found) = judged(true, false, false);
    assert_eq!(state, State::Ok);
    assert_eq!(found, "Landlock: files; no TCP (since Linux 6.7), no signals (since Linux 6.12)");
}

#[test]
fn tools_map_to_states() {
    let tool = ToolStatus {
        program: "mkfs.erofs",
        path: Some("/usr/bin/mkfs.erofs".into()),
        version: Some("1.4".into()),
        needed: Some("1.5"),
        package: "erofs-utils",
        purpose: "making layers",
        usable: false,
    };
    let old = judge_tool(&tool, true);
    assert_eq!((old.state, old.for_forks), (State::Missing, false));
    assert!(old.found.contains("1.5 or later"));
    assert!(old.remedy.unwrap().as_str().contains("apt-get install -y --no-install-recommends erofs-utils"));
    let newuidmap = ToolStatus { program: "newuidmap", path: None, version: None, needed: None, ..tool };
    assert_eq!(judge_tool(&newuidmap, true).state, State::Ok);
    assert_eq!(judge_tool(&newuidmap, false).state, State::Missing);
}

#[test]
fn what_a_user_lacks_is_missing() {
    let user = |subordinate_ids, refused: Option<&str>| {
        let refused = refused.map(str::to_owned);
        let user = UserNamespaces { user: "ann".into(), subordinate_ids, refused };
        (judge_subordinate_ids(&user).state, judge_namespaces(&user).state)
    };
    assert_eq!(user(65_536, None), (State::Ok, State::Ok));
    assert_eq!(user(65_535, Some("Operation not permitted")), (State::Missing, State::Missing));
}

#[test]
fn modes_and_dead_sandboxes_are_warnings() {
    let wrong = |name: &str| WrongMode { path: name.into(), mode: 0o755 };
    assert_eq!(judge_modes(&[]).state, State::Ok);
    let check = judge_modes(&[wrong("/r/refs"), wrong("/r/flat")]);
    assert_eq!(check.found, "/r/refs has 0755, and 1 more: expected 0700");
    assert_eq!((judge_dead(Ok(0)).state, judge_dead(Ok(2)).state), (State::Ok, State::Warning));
}
