//! What a QEMU may do wrong, by one that is made to.

use format::config::Accelerator;
use serde_json::Value;

use super::super::fake::{Fake, Reply, engine, machine};
use super::*;
use crate::{Disk, DiskFormat, MemoryMode};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// A QEMU with only a writable disk, which takes any state.
fn answer(command: &str) -> Reply {
    let disk = |id: &str, file: &str, size: u64| {
        let qdev = format!("/machine/peripheral/{id}/virtio-backend");
        json!({ "qdev": qdev, "inserted": { "file": file, "ro": false, "image": { "virtual-size": size } } })
    };
    let migration = |status: &str| json!({ "event": "MIGRATION", "data": { "status": status } });
    let events = match command {
        "migrate-incoming" => vec![migration("active"), migration("completed")],
        _ => Vec::new(),
    };
    Reply::Answer(
        match command {
            "query-block" => {
                json!([
                    disk("writable", "disk", 4096),
                    disk("data0", r#"json:{"driver":"null-co"}"#, 1 << 20)
                ])
            }
            "query-status" => json!({ "status": "paused", "running": false }),
            "qom-get" => json!("pc-q35-7.2-machine"),
            _ => json!({}),
        },
        events,
    )
}

fn begin(fake: &Fake, qmp: Qmp, file: &str, deadline: Deadline) -> Result<QemuVm, EngineError> {
    let file = FileName::new(file).unwrap();
    let disk =
        Disk { id: "writable".to_owned(), file, size: 4096, format: DiskFormat::Raw, read_only: false };
    let (machine, engine) = (machine(0), engine(Accelerator::Tcg));
    let setup = Setup {
        folder: fake.folder.path(),
        machine: &machine,
        engine: &engine,
        disks: &[disk],
        network: NetworkMode::None,
        memory: MemoryMode::Private,
        deadline,
    };
    QemuVm::begin((fake.process, qmp), &setup, Some("file:state"))
}

#[test]
fn what_has_other_disks_is_ended_before_it_gets_a_state() {
    let (fake, qmp) = Fake::start(answer);
    let error = begin(&fake, qmp, "other", soon()).err().unwrap();
    assert!(matches!(error, EngineError::Attachment { .. }), "{error}");
    assert!(!fake.process.is_alive());
    assert_eq!(fake.commands(), ["qmp_capabilities", "query-block"]);
}

#[test]
fn the_end_of_a_restore_is_awaited() {
    let (fake, qmp) = Fake::start(answer);
    begin(&fake, qmp, "disk", soon()).unwrap();
    let expected = ["qmp_capabilities", "query-block", "migrate-incoming", "query-status", "set_link"];
    assert_eq!(fake.commands(), expected);

    let (fake, qmp) = Fake::start(|command| match command {
        "migrate-incoming" => Reply::Answer(json!({}), Vec::new()),
        other => answer(other),
    });
    // Enough for what comes before it on a busy machine.
    let error = begin(&fake, qmp, "disk", Deadline::after(Duration::from_secs(2))).err().unwrap();
    assert!(matches!(error, EngineError::Timeout("restore the state")), "{error}");
    assert_eq!(fake.commands(), expected[..3]);
}

#[test]
fn one_that_has_not_taken_its_state_is_ended() {
    let (fake, qmp) = Fake::start(|command| match command {
        "query-status" => Reply::Answer(json!({ "status": "inmigrate", "running": false }), Vec::new()),
        other => answer(other),
    });
    let error = begin(&fake, qmp, "disk", soon()).err().unwrap();
    assert!(error.to_string().contains("inmigrate, should be paused"), "{error}");
    assert!(!fake.process.is_alive());
}

#[test]
fn one_that_says_nothing_is_ended_in_time() {
    let (fake, qmp) = Fake::start(|_| Reply::Silence);
    let error = begin(&fake, qmp, "disk", Deadline::after(Duration::from_millis(50))).err().unwrap();
    assert!(matches!(error, EngineError::Timeout(_)), "{error}");
    assert!(!fake.process.is_alive());
}

#[test]
fn the_log_of_one_that_ends_is_shown() {
    let (fake, qmp) = Fake::start(|_| Reply::Close);
    fs::write(fake.folder.path().join(crate::ENGINE_LOG), "no such CPU\n").unwrap();
    let error = begin(&fake, qmp, "disk", soon()).err().unwrap();
    assert!(error.to_string().ends_with("its log ends with: no such CPU"), "{error}");
}

#[test]
fn a_machine_with_a_blocker_is_not_frozen_and_runs_on() {
    let (fake, qmp) = Fake::start(|command| match command {
        "query-migrate" => Reply::Answer(json!({ "blocked-reasons": ["an NVMe drive"] }), Vec::new()),
        other => answer(other),
    });
    let mut vm = begin(&fake, qmp, "disk", soon()).unwrap();
    fake.commands();
    let error = vm.freeze(&FileName::new("state").unwrap(), soon()).unwrap_err();
    assert!(matches!(&error, EngineError::Blocked(reasons) if *reasons == ["an NVMe drive"]), "{error}");
    assert_eq!(fake.commands(), ["query-migrate"]);
}

#[test]
fn a_refusal_names_the_command() {
    let (fake, qmp) = Fake::start(|command| match command {
        "cont" => Reply::Refuse("Resetting the Virtual Machine is required"),
        other => answer(other),
    });
    let mut vm = begin(&fake, qmp, "disk", soon()).unwrap();
    let error = vm.resume(soon()).unwrap_err();
    let expected = "the engine refused cont: Resetting the Virtual Machine is required";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_answer_that_comes_too_late_is_taken_for_no_other() {
    let (fake, qmp) = Fake::start(|command| match command {
        // Answered, together with the next command, after its deadline.
        "stop" => Reply::Silence,
        "cont" => Reply::Answer(Value::Null, vec![json!({ "return": "late", "id": 5 })]),
        other => answer(other),
    });
    let mut vm = begin(&fake, qmp, "disk", soon()).unwrap();
    assert!(matches!(vm.pause(Deadline::after(Duration::from_millis(50))), Err(EngineError::Timeout(_))));
    assert!(matches!(vm.resume(soon()), Err(EngineError::Protocol { .. })));
    assert_eq!(vm.status(soon()).unwrap(), Status::Paused);
}

#[test]
fn a_flood_of_words_is_cut() {
    let refusal: &str = "no ".repeat(20_000).leak();
    let short = |error: EngineError| assert!(error.to_string().len() < 5000, "{error}");
    let (fake, qmp) = Fake::start(move |command| match command {
        "cont" => Reply::Refuse(refusal),
        "stop" => Reply::Answer(json!("x".repeat(300 << 10)), Vec::new()),
        "query-migrate" => Reply::Answer(json!({ "blocked-reasons": vec![refusal; 3] }), Vec::new()),
        other => answer(other),
    });
    let mut vm = begin(&fake, qmp, "disk", soon()).unwrap();
    short(vm.resume(soon()).unwrap_err());
    short(vm.freeze(&FileName::new("state").unwrap(), soon()).unwrap_err());
    let error = vm.pause(soon()).unwrap_err();
    assert!(error.to_string().contains("without a line's end"), "{error}");
}
