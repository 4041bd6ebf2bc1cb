//! Configs that describe a machine that cannot be, or that would become more than words on an engine's command line.

use serde_json::{Value, json};

use crate::case::{Case, arrival};
use crate::forge::Draft;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        arrival("a config that is not JSON", &["config is not valid"], |draft| draft.config_text("{")),
        arrival("a config of more than 1 MiB", &["1048576"], |draft| {
            draft.config["provenance"]["kernel_version"] = json!("x".repeat(1 << 20));
        }),
        arrival("a config nested without end", &["config is not valid"], |draft| {
            draft.config_text("[".repeat(500_000));
        }),
        arrival("an unknown field", &["unknown field", "root_disk"], |draft| {
            draft.config["machine"]["root_disk"] = json!("/etc/shadow");
        }),
        arrival("a field twice", &["duplicate field", "version"], |draft| {
            let text = serde_json::to_string(&draft.config).expect("it is JSON");
            draft.config_text(text.replacen('{', "{\"version\":0,", 1));
        }),
        arrival("a later version", &["version", "1 is not known"], |draft| {
            draft.config["version"] = json!(1);
        }),
        arrival("another architecture", &["arm64"], |draft| draft.config["architecture"] = json!("arm64")),
        arrival("another profile", &["q35-v2"], |draft| draft.config["machine"]["profile"] = json!("q35-v2")),
        arrival("a text without end", &["provenance.created_at"], |draft| {
            draft.config["provenance"]["created_at"] = json!("9".repeat(5000));
        }),
    ];
    cases.extend(machines());
    cases.extend(engines());
    cases.extend(disks());
    cases.extend(attachments());
    cases
}

fn machines() -> Vec<Case> {
    vec![
        arrival("no CPUs", &["machine.vcpus"], |draft| draft.config["machine"]["vcpus"] = json!(0)),
        arrival("65 CPUs", &["machine.vcpus", "65"], |draft| draft.config["machine"]["vcpus"] = json!(65)),
        arrival("2^32 CPUs", &["config is not valid"], |draft| {
            draft.config["machine"]["vcpus"] = json!(1_u64 << 32);
        }),
        arrival("no memory", &["machine.memory"], |draft| draft.config["machine"]["memory"] = json!([])),
        arrival("2^63 bytes of memory", &["machine.memory", "9223372036854775808"], |draft| {
            memory(draft)["size"] = json!(1_u64 << 63);
        }),
        arrival("memory that is not whole pages", &["machine.memory"], |draft| {
            memory(draft)["size"] = json!((128 << 20) + 1);
        }),
        arrival("memory elsewhere", &["machine.memory"], |draft| {
            memory(draft)["guest_address"] = json!(0xFEC0_0000_u64);
        }),
        arrival("regions that overlap", &["machine.memory"], |draft| {
            let region = memory(draft).clone();
            draft.config["machine"]["memory"] = json!([region, region]);
        }),
        arrival("memory that its map does not have", &["memory map", "pages"], |draft| {
            memory(draft)["size"] = json!(256 << 20);
        }),
        arrival("a device too many", &["machine.devices"], |draft| {
            let device = json!({ "id": "pmem0", "kind": "spare-disk", "slot": 7 });
            draft.config["machine"]["devices"].as_array_mut().expect("a list").push(device);
        }),
        arrival("a device's id with options", &["machine.devices"], |draft| {
            draft.config["machine"]["devices"][0]["id"] = json!("agent,chardev=host");
        }),
        arrival("two devices in one slot", &["machine.devices"], |draft| {
            draft.config["machine"]["devices"][1]["slot"] = json!(2);
        }),
        arrival("a prefix of 33 bits", &["machine.network.prefix"], |draft| {
            draft.config["machine"]["network"]["prefix"] = json!(33);
        }),
        arrival("an address with options", &["config is not valid"], |draft| {
            draft.config["machine"]["network"]["dns"] = json!("10.0.2.3,hostfwd=tcp::22-:22");
        }),
        arrival("a hardware address with options", &["config is not valid"], |draft| {
            draft.config["machine"]["network"]["mac"] = json!("52:54:00:53:50:01,id=x");
        }),
        arrival("a command line of two lines", &["machine.kernel.command_line"], |draft| {
            kernel(draft)["command_line"] = json!("quiet\ninit=/bin/sh");
        }),
        arrival("a command line with a NUL", &["machine.kernel.command_line"], |draft| {
            kernel(draft)["command_line"] = json!("quiet\0-drive file=/etc/shadow");
        }),
        arrival("a command line with an escape", &["machine.kernel.command_line"], |draft| {
            kernel(draft)["command_line"] = json!("quiet \u{1b}[2J");
        }),
        arrival("a command line that is not ASCII", &["machine.kernel.command_line"], |draft| {
            kernel(draft)["command_line"] = json!("quiet \u{202e}");
        }),
        arrival("a command line of 2049 bytes", &["machine.kernel.command_line", "2048"], |draft| {
            kernel(draft)["command_line"] = json!("x".repeat(2049));
        }),
    ]
}

fn engines() -> Vec<Case> {
    vec![
        arrival("another engine", &["bhyve"], |draft| engine(draft)["kind"] = json!("bhyve")),
        arrival("another accelerator", &["whpx"], |draft| engine(draft)["accelerator"] = json!("whpx")),
        arrival("another form of state", &["qemu-devices-v2"], |draft| {
            engine(draft)["state_format"] = json!("qemu-devices-v2");
        }),
        arrival("a machine type with options", &["engine.machine_type"], |draft| {
            engine(draft)["machine_type"] = json!("pc-q35-7.2,kernel=/etc/shadow");
        }),
        arrival("an empty machine type", &["engine.machine_type"], |draft| {
            engine(draft)["machine_type"] = json!("");
        }),
        arrival("a CPU model with features", &["engine.cpu.model"], |draft| {
            engine(draft)["cpu"]["model"] = json!("Haswell-noTSX,+vmx");
        }),
        arrival("the host's CPU", &["engine.cpu.model", "another CPU on every host"], |draft| {
            engine(draft)["cpu"]["model"] = json!("host");
        }),
        arrival("the VMM's best CPU", &["engine.cpu.model", "another CPU on every host"], |draft| {
            engine(draft)["cpu"]["model"] = json!("max");
        }),
        arrival("a CPU feature without a sign", &["engine.cpu.features"], |draft| {
            engine(draft)["cpu"]["features"] = json!(["migratable=off"]);
        }),
        arrival("two CPU features in one", &["engine.cpu.features"], |draft| {
            engine(draft)["cpu"]["features"] = json!(["+avx,host-phys-bits=on"]);
        }),
        arrival("CPU features in any order", &["engine.cpu.features", "sorted"], |draft| {
            engine(draft)["cpu"]["features"] = json!(["-x2apic", "-cx16"]);
        }),
        arrival("a version with options", &["engine.version"], |draft| {
            engine(draft)["version"] = json!("10.0.2 -daemonize");
        }),
    ]
}

fn disks() -> Vec<Case> {
    vec![
        arrival("no disks", &["disks"], |draft| draft.config["disks"] = json!([])),
        arrival("no writable disk", &["disks"], |draft| drop(disk_list(draft).pop())),
        arrival("no layers", &["disks"], |draft| drop(disk_list(draft).drain(..2))),
        arrival("13 layers", &["disks", "12"], |draft| {
            let layer = draft.config["disks"][0].clone();
            disk_list(draft).splice(0..0, vec![layer; 11]);
        }),
        arrival("layers in another order", &["disks[0].id"], |draft| disk_list(draft).swap(0, 1)),
        arrival("a layer that can be written", &["disks[1].role"], |draft| {
            disk_list(draft)[1]["role"] = json!("writable");
        }),
        arrival("a disk's id that is a path", &["disks[0].id"], |draft| {
            disk_list(draft)[0]["id"] = json!("../../../../escaped");
        }),
        arrival("a layer without its content", &["disks[0].content"], |draft| {
            drop(disk_list(draft)[0].as_object_mut().expect("a disk").remove("content"));
        }),
        arrival("a writable disk with a content", &["disks[2].content"], |draft| {
            let content = disk_list(draft)[0]["content"].clone();
            disk_list(draft)[2]["content"] = content;
        }),
        arrival("a disk of 2^63 bytes", &["disks[2].size", "9223372036854775808"], |draft| {
            disk_list(draft)[2]["size"] = json!(1_u64 << 63);
        }),
        arrival("a disk that is not whole pages", &["disks[2].size"], |draft| {
            disk_list(draft)[2]["size"] = json!((64 << 20) - 512);
        }),
        arrival("a disk that its map does not have", &["writable", "bytes"], |draft| {
            disk_list(draft)[2]["size"] = json!(128 << 20);
        }),
    ]
}

fn attachments() -> Vec<Case> {
    vec![
        arrival("an unknown critical attachment", &["application/x-seal", "critical"], |draft| {
            draft.attach("application/x-seal", b"sealed", true);
        }),
        arrival(
            "an attachment that the manifest does not declare",
            &["attachment", "is not declared"],
            |draft| {
                draft.attach("application/x-note", b"note", false);
                drop(draft.manifest["layers"].as_array_mut().expect("a list").pop());
            },
        ),
        arrival("an attachment that the config does not declare", &["nothing needs it"], |draft| {
            draft.attach("application/x-note", b"note", false);
            draft.config["attachments"] = json!([]);
        }),
        arrival("an attachment of another size", &["attachment", "bytes"], |draft| {
            draft.attach("application/x-note", b"note", false);
            draft.config["attachments"][0]["size"] = json!(3);
        }),
        arrival("an attachment of another type", &["attachment", "is declared as"], |draft| {
            draft.attach("application/x-note", b"note", false);
            draft.config["attachments"][0]["mediaType"] = json!("application/x-other");
        }),
        arrival("65 attachments", &["attachments", "64"], |draft| {
            (0..65_u8).for_each(|n| {
                draft.attach("application/x-note", &[n], false);
            });
        }),
    ]
}

fn memory(draft: &mut Draft) -> &mut Value {
    &mut draft.config["machine"]["memory"][0]
}

fn kernel(draft: &mut Draft) -> &mut Value {
    &mut draft.config["machine"]["kernel"]
}

fn engine(draft: &mut Draft) -> &mut Value {
    &mut draft.config["engine"]
}

fn disk_list(draft: &mut Draft) -> &mut Vec<Value> {
    draft.config["disks"].as_array_mut().expect("there are disks")
}
