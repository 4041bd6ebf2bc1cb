//! What QEMU says is attached, compared with what was asked for.

use serde::Deserialize;
use serde_json::Value;

use crate::{Attachment, Disk, DiskFormat, EngineError};

use super::command::SPARE_SIZE;
use super::qmp::shortened;

/// One element of the answer to `query-block`.
#[derive(Debug, Deserialize)]
pub(super) struct BlockDevice {
    qdev: Option<String>,
    inserted: Option<Inserted>,
}

#[derive(Debug, Deserialize)]
struct Inserted {
    file: String,
    ro: bool,
    backing_file: Option<String>,
    image: Image,
}

#[derive(Debug, Deserialize)]
struct Image {
    #[serde(rename = "virtual-size")]
    virtual_size: u64,
}

/// What QEMU reports, in its order.
pub(super) fn reported(devices: Vec<BlockDevice>) -> Vec<Attachment> {
    devices.into_iter().map(attachment).collect()
}

fn attachment(device: BlockDevice) -> Attachment {
    let qdev = device.qdev.unwrap_or_default();
    // Such as /machine/peripheral/layer0/virtio-backend; anything else is kept, and matches no device.
    let id = qdev
        .strip_prefix("/machine/peripheral/")
        .and_then(|rest| rest.strip_suffix("/virtio-backend"))
        .map_or(qdev.clone(), str::to_owned);
    match device.inserted {
        None => Attachment { id, file: None, base: None, size: 0, read_only: true },
        Some(inserted) => Attachment {
            id,
            file: file(&inserted.file),
            base: inserted.backing_file,
            size: inserted.image.virtual_size,
            read_only: inserted.ro,
        },
    }
}

/// A node that a name alone does not describe is described as `json:{…}`.
fn file(described: &str) -> Option<String> {
    let Some(text) = described.strip_prefix("json:") else {
        return Some(described.to_owned());
    };
    let Ok(node) = serde_json::from_str::<Value>(text) else {
        return Some(described.to_owned());
    };
    if node.get("driver").and_then(Value::as_str) == Some("null-co") {
        return None;
    }
    let name = node.get("file").and_then(|file| file.get("filename")).and_then(Value::as_str);
    Some(name.unwrap_or(described).to_owned())
}

/// What should be attached, in the profile's order: the writable disk, the spare one, the layers.
pub(super) fn expected(disks: &[Disk]) -> Vec<Attachment> {
    let attached = |disk: &Disk| Attachment {
        id: disk.id.clone(),
        file: Some(disk.file.to_string()),
        base: match &disk.format {
            DiskFormat::Raw => None,
            DiskFormat::Overlay { base } => Some(base.to_string()),
        },
        size: disk.size,
        read_only: disk.read_only,
    };
    let of = |id: &str| disks.iter().find(|disk| disk.id == id).map(attached);
    let spare = of("data0").unwrap_or_else(|| Attachment {
        id: "data0".to_owned(),
        file: None,
        base: None,
        size: SPARE_SIZE,
        read_only: false,
    });
    let layers = disks.iter().filter(|disk| disk.id.starts_with("layer")).map(attached);
    of("writable").into_iter().chain([spare]).chain(layers).collect()
}

/// Compares both, in order.
pub(super) fn compare(expected: &[Attachment], reported: &[Attachment]) -> Result<(), EngineError> {
    let length = expected.len().max(reported.len());
    for n in 0..length {
        let (wanted, found) = (expected.get(n), reported.get(n));
        if wanted != found {
            return Err(EngineError::Attachment {
                device: wanted.or(found).map(|attachment| shortened(&attachment.id)).unwrap_or_default(),
                expected: describe(wanted),
                found: describe(found),
            });
        }
    }
    Ok(())
}

fn describe(attachment: Option<&Attachment>) -> String {
    let Some(attachment) = attachment else { return "absent".to_owned() };
    let mut text = format!("{} with ", shortened(&attachment.id));
    text.push_str(&attachment.file.as_deref().map_or("no file".to_owned(), shortened));
    if let Some(base) = &attachment.base {
        text.push_str(&format!(" over {}", shortened(base)));
    }
    let mode = if attachment.read_only { "read-only" } else { "writable" };
    text.push_str(&format!(", {} bytes, {mode}", attachment.size));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileName;

    fn disks() -> Vec<Disk> {
        let file = |name: &str| FileName::new(name).unwrap();
        let base = file("writable.raw");
        vec![
            Disk {
                id: "layer0".into(),
                file: file("layer0"),
                size: 4096,
                format: DiskFormat::Raw,
                read_only: true,
            },
            Disk {
                id: "writable".into(),
                file: file("writable.qcow2"),
                size: 8192,
                format: DiskFormat::Overlay { base },
                read_only: false,
            },
        ]
    }

    fn answer() -> Value {
        let overlay = r#"json:{"backing": {"driver": "raw", "file": {"driver": "file", "filename": "writable.raw"}}, "driver": "qcow2", "file": {"driver": "file", "filename": "writable.qcow2"}}"#;
        let qdev = |id: &str| format!("/machine/peripheral/{id}/virtio-backend");
        serde_json::json!([
            { "qdev": qdev("writable"), "inserted": { "file": overlay, "ro": false,
              "backing_file": "writable.raw", "image": { "virtual-size": 8192 } } },
            { "qdev": qdev("data0"), "inserted": { "file": "json:{\"driver\": \"null-co\"}", "ro": false,
              "image": { "virtual-size": 1048576 } } },
            { "qdev": qdev("layer0"), "inserted": { "file": "layer0", "ro": true,
              "image": { "virtual-size": 4096 } } },
        ])
    }

    fn compared(change: impl FnOnce(&mut Value)) -> Result<(), EngineError> {
        let mut answer = answer();
        change(&mut answer);
        compare(&expected(&disks()), &reported(serde_json::from_value(answer).unwrap()))
    }

    #[test]
    fn any_difference_is_found() {
        compared(|_| {}).unwrap();
        let refused = |change: fn(&mut Value)| compared(change).unwrap_err().to_string();
        assert!(refused(|all| all[2]["inserted"]["file"] = "layer1".into()).contains("layer0 with layer1"));
        assert!(refused(|all| all[2]["inserted"]["ro"] = false.into()).contains("4096 bytes, writable"));
        assert!(refused(|all| all[0]["inserted"]["image"]["virtual-size"] = 1.into()).contains("1 bytes"));
        assert!(refused(|all| all[0]["inserted"]["backing_file"] = "other".into()).contains("over other"));
        assert!(refused(|all| all.as_array_mut().unwrap().swap(0, 1)).contains("writable should be"));
        assert!(refused(|all| drop(all.as_array_mut().unwrap().pop())).contains("reports absent"));
        assert!(
            refused(|all| {
                let more = all[2].clone();
                all.as_array_mut().unwrap().push(more);
            })
            .contains("should be absent")
        );
    }
}
