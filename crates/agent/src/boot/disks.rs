//! Disks by their virtio serial, never by their order, and the root made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use agent_protocol::GuestConfig;
use rustix::mount::{MountFlags, mount};

use super::{BootError, Context, c_string, mount_disk, mount_new, wait_for};

/// Where the writable file system is in the initrd; out of sight once the root has changed.
pub(super) const WRITABLE: &str = "/w";

/// Mounts every disk the config names. Returns the layers' folders, the lowest first.
pub(super) fn mount_all(config: &GuestConfig) -> Result<Vec<String>, BootError> {
    let mut folders = Vec::new();
    for number in 0..config.layers {
        // One byte or two: overlayfs takes all of them in one page of options.
        let folder = format!("/{number}");
        let disk = find(&format!("layer{number}"))?;
        mount_disk(&disk, &folder, "erofs", MountFlags::RDONLY)?;
        folders.push(folder);
    }
    if config.writable {
        mount_disk(&find("writable")?, WRITABLE, "ext4", MountFlags::NOATIME)?;
    } else {
        mount_new("tmpfs", WRITABLE, MountFlags::empty(), Some(c"mode=755"))?;
    }
    Ok(folders)
}

/// Mounts the layers and the writable part as one tree, with a fresh `/run`.
pub(super) fn mount_overlay(config: &GuestConfig, layers: &[String], target: &str) -> Result<(), BootError> {
    let (upper, work) = (format!("{WRITABLE}/upper"), format!("{WRITABLE}/work"));
    for folder in [&upper, &work, &target.to_owned()] {
        fs::create_dir_all(folder).context(format!("make the folder {folder}"))?;
    }
    let options = overlay_options(config.userxattr, layers, &upper, &work);
    let what = format!("mount the overlay with {options}");
    let options = c_string(options)?;
    mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str()).context(what)?;
    let run = format!("{target}/run");
    mount_new("tmpfs", &run, MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))
}

fn overlay_options(userxattr: bool, layers: &[String], upper: &str, work: &str) -> String {
    let lower: Vec<&str> = layers.iter().rev().map(String::as_str).collect();
    let flag = if userxattr { ",userxattr" } else { "" };
    format!("lowerdir={},upperdir={upper},workdir={work}{flag}", lower.join(":"))
}

/// The disk with a serial, if it is there.
pub(crate) fn disk_by_serial(serial: &str) -> Option<PathBuf> {
    by_serial().remove(serial)
}

fn find(serial: &str) -> Result<PathBuf, BootError> {
    wait_for(&format!("disk with serial `{serial}`"), || Ok(by_serial().remove(serial)))
}

fn by_serial() -> BTreeMap<String, PathBuf> {
    let blocks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let named = blocks.filter_map(|block| {
        let serial = fs::read_to_string(block.path().join("serial")).ok()?;
        let device = PathBuf::from("/dev").join(block.file_name());
        device.exists().then(|| (serial.trim_end().to_owned(), device))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_layer_covers_a_lower_one() {
        let layers: Vec<String> = (0..12).map(|number| format!("/{number}")).collect();
        let options = overlay_options(true, &layers, "/w/upper", "/w/work");
        assert_eq!(
            options,
            "lowerdir=/11:/10:/9:/8:/7:/6:/5:/4:/3:/2:/1:/0,upperdir=/w/upper,workdir=/w/work,userxattr"
        );
    }
}
