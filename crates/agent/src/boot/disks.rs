//! Disks by their virtio serial, never by their order, and the root made of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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
    let is_new = !Path::new(&upper).exists();
    for folder in [&upper, &work, &target.to_owned()] {
        fs::create_dir_all(folder).context(format!("make the folder {folder}"))?;
    }
    if let Some(top) = layers.last().filter(|_| is_new) {
        // In an overlay the root looks as the folder that is written to.
        copy_look(top, &upper).context(format!("make {upper} look as the root of {top}"))?;
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

/// Gives a folder the owner, permissions, extended attributes and time of another.
fn copy_look(from: &str, to: &str) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())?;
    // As much as Linux has in one.
    let mut buffer = vec![0; 1 << 16];
    let length = rustix::fs::listxattr(from, &mut buffer)?;
    let names = buffer.get(..length).unwrap_or_default().to_vec();
    let is_meant = |name: &&[u8]| !name.is_empty() && !is_of_overlays(name);
    for name in names.split(|byte| *byte == 0).filter(is_meant) {
        let length = rustix::fs::getxattr(from, name, &mut buffer)?;
        let value = buffer.get(..length).unwrap_or_default();
        rustix::fs::setxattr(to, name, value, rustix::fs::XattrFlags::empty())?;
    }
    let times = fs::FileTimes::new().set_modified(meta.modified()?);
    fs::File::open(to)?.set_times(times)
}

fn is_of_overlays(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
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
    fn a_new_root_looks_as_the_uppermost_layer_s() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("spore-look-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        for folder in [&from, &to] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1751)).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let has_attributes = rustix::fs::setxattr(&from, "user.a", b"1", flags).is_ok();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(7);
        fs::File::open(&from).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();
        copy_look(from.to_str().unwrap(), to.to_str().unwrap()).unwrap();
        let meta = fs::metadata(&to).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.modified().unwrap()), (0o1751, time));
        if has_attributes {
            let mut value = [0; 8];
            assert_eq!(rustix::fs::getxattr(&to, "user.a", &mut value), Ok(1));
        }
        fs::remove_dir_all(folder).unwrap();
    }

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
