//! Documents that are valid, for targets that change them ([`crate::json`]).

/// A config.
pub const CONFIG: &[u8] = include_bytes!("../../crates/format/golden/config.json");
/// A manifest.
pub const MANIFEST: &[u8] = include_bytes!("../../crates/format/golden/manifest.json");
/// What QEMU says to a fork whose disks are right.
pub const BEGIN: &[u8] = br#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}
{"return": {}, "id": 0}
{"return": [{"device": "", "qdev": "/machine/peripheral/writable/virtio-backend", "inserted": {"file": "json:{\"driver\": \"qcow2\", \"backing\": {\"driver\": \"raw\"}, \"file\": {\"driver\": \"file\", \"filename\": \"writable.overlay\"}}", "ro": false, "backing_file": "writable.base", "image": {"virtual-size": 8192}}}, {"qdev": "/machine/peripheral/data0/virtio-backend", "inserted": {"file": "json:{\"driver\": \"null-co\"}", "ro": false, "image": {"virtual-size": 1048576}}}, {"qdev": "/machine/peripheral/layer0/virtio-backend", "inserted": {"file": "layer0", "ro": true, "image": {"virtual-size": 4096}}}], "id": 1}
{"event": "MIGRATION", "data": {"status": "setup"}}
{"return": {}, "id": 2}
{"event": "MIGRATION", "data": {"status": "completed"}}
{"return": {"status": "paused", "running": false}, "id": 3}
{"return": {}, "id": 4}
"#;
/// What it says to a supervisor, or to a capture.
pub const STATUS: &[u8] =
    br#"{"return": {"status": "paused", "running": false, "blocked-reasons": []}, "id": 0}
{"return": "pc-q35-7.2-machine", "id": 1}
{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}
"#;
