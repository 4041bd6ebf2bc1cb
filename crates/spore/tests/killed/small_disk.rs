//! A disk that is full: the command says so, by name and number, and leaves nothing but what a pull can resume.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::aftermath;
use crate::harness::hubs::missing_bytes;
use crate::harness::needs::{Need, say_skipped, skipped};
use crate::harness::run::Run;
use crate::harness::shared::{Shared, seed_cache};
use crate::harness::{Spore, files, processes, recipes};

/// A root on a filesystem of its own, in memory.
struct SmallDisk {
    spore: Spore,
    mount: PathBuf,
}

impl SmallDisk {
    /// `None` if it cannot be mounted: that is said.
    fn new(test: &str, options: &str) -> Option<Self> {
        let folder = files::scratch("disk");
        let mount = folder.path().join("mount");
        fs::create_dir(&mount).unwrap();
        let path = mount.to_str().unwrap();
        let mounted = Run::new("mount").args(["-t", "tmpfs", "-o", options, "spore-test", path]).finish();
        if !mounted.status.success() {
            say_skipped(test, &format!("a small disk cannot be mounted: {}", mounted.error().trim()));
            return None;
        }
        let spore = Spore::in_folder(folder, Path::new("mount/root")).env("SPORE_ACCEL", "tcg");
        Some(Self { spore, mount })
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        Run::new("mount").args(["-o".as_ref(), options.as_ref(), self.mount.as_os_str()]).finish().succeeds();
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mount).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) {
        let ballast = vec![0; usize::try_from(self.free() - free).unwrap()];
        fs::write(self.mount.join("ballast"), ballast).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.mount.join("ballast")).unwrap();
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        aftermath::assert_no_leftovers(self.spore.root());
        assert_eq!(aftermath::tags(&self.spore), Vec::<PathBuf>::new());
        let processes = processes::in_folder(&self.mount);
        assert!(processes.is_empty(), "left behind: {processes:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.spore.command(["kill", "--all"]).start().wait(crate::scene::DEADLINE);
        // Lazily, so that it goes even if this test has failed and something still uses it.
        Run::new("umount").args(["--lazy".as_ref(), self.mount.as_os_str()]).finish();
    }
}

impl Deref for SmallDisk {
    type Target = Spore;

    fn deref(&self) -> &Spore {
        &self.spore
    }
}

#[test]
fn a_pull_on_a_full_disk() {
    const TEST: &str = "killed_anywhere::a_pull_on_a_full_disk";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let shared = Shared::of(&recipes::shipped("tiny"));
    let Some(disk) = SmallDisk::new(TEST, "size=256m,mode=700") else { return };
    let laid_out = ["pull", "--hub", shared.hub.to_str().unwrap(), &shared.name];
    let pull = [&laid_out[..], &["--no-layout"]].concat();
    let plan = disk.json([&laid_out[..], &["--dry-run"]].concat());
    let needed = missing_bytes(&plan);
    let with_flat_files = needed + plan["flat_bytes"].as_u64().unwrap();
    disk.fill(with_flat_files - 4096);
    disk.run(laid_out).exits_with(1).says(&["bytes are needed", &with_flat_files.to_string()]);
    disk.assert_nothing_left();
    disk.empty();
    // Known before anything is fetched; found out by what is written, the names of files included.
    for (free, says) in [
        (needed / 2, ["bytes are needed", &needed.to_string()]),
        (needed - 4096, ["bytes are needed", &needed.to_string()]),
        (needed + 8192, ["no space left", disk.root().to_str().unwrap()]),
    ] {
        disk.fill(free);
        disk.run(&pull).exits_with(1).says(&says);
        disk.assert_nothing_left();
        // Room is made on a disk that is full.
        disk.run(["prune"]).succeeds();
        assert_eq!(files::entries(&disk.root().join("partial")), Vec::<PathBuf>::new());
        disk.empty();
        disk.fsck();
    }
    let stat = rustix::fs::statvfs(&disk.mount).unwrap();
    for more in [2, 5, 9] {
        disk.remount(&format!("nr_inodes={}", stat.f_files - stat.f_ffree + more));
        disk.run(&pull).exits_with(1).says(&["no space left"]);
        disk.assert_nothing_left();
        disk.remount("nr_inodes=100000");
        disk.run(["prune"]).succeeds();
        disk.fsck();
    }
    disk.run(&pull).succeeds();
    disk.fsck();
    disk.run(laid_out).succeeds();
    disk.fsck();
}

#[test]
fn a_push_to_a_full_disk() {
    const TEST: &str = "killed_anywhere::a_push_to_a_full_disk";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let Some(disk) = SmallDisk::new(TEST, "size=256m,mode=700") else { return };
    let pusher = Spore::new();
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&pusher);
    let hub = disk.mount.join("hub");
    let location = hub.to_str().unwrap();
    let push = ["push", &name, "--hub", location];
    let plan = pusher.json([&push[..], &["--dry-run"]].concat());
    let needed = missing_bytes(&plan);
    for free in [0, 64 << 10, needed / 2, needed - (64 << 10)] {
        // What has come to it in whole before would stay.
        fs::remove_dir_all(&hub).ok();
        disk.fill(free);
        pusher.run(push).exits_with(1).says(&["space left", location]);
        disk.empty();
        aftermath::assert_hub_is_whole(&hub);
        // No tag leads to what is there in part.
        Spore::new().run(["pull", &name, "--hub", location]).exits_with(3);
    }
    pusher.run(push).succeeds();
    aftermath::assert_hub_is_whole(&hub);
    let puller = Spore::new();
    puller.run(["pull", &name, "--hub", location, "--no-layout"]).succeeds();
    puller.fsck();
}

#[test]
fn a_bake_on_a_full_disk() {
    const TEST: &str = "killed_anywhere::a_bake_on_a_full_disk";
    const MIB: u64 = 1 << 20;
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    Shared::of(&recipes::shipped("tiny"));
    let Some(disk) = SmallDisk::new(TEST, "size=2g,mode=700") else { return };
    seed_cache(disk.root());
    let recipe = recipes::shipped("tiny");
    let bake = || disk.command(["bake".as_ref(), recipe.as_os_str()]).deadline(crate::scene::DEADLINE);
    // The guest's kernel, its memory, and what is stored of it in the end do not fit.
    for (free, says) in
        [(8 * MIB, "space left"), (100 * MIB, "134217728 bytes are needed"), (150 * MIB, "no space left")]
    {
        disk.fill(free);
        bake().finish().exits_with(1).says(&[says]);
        disk.assert_nothing_left();
        disk.run(["prune"]).succeeds();
        disk.empty();
        disk.fsck();
    }
    bake().finish().succeeds();
    disk.fsck();
}

/// The guest has room on its disk, but the host has none for it.
#[test]
fn a_guest_that_fills_the_host_s_disk() {
    const TEST: &str = "killed_anywhere::a_guest_that_fills_the_host_s_disk";
    const MIB: u64 = 1 << 20;
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    Shared::of(&recipes::shipped("tiny"));
    let Some(disk) = SmallDisk::new(TEST, "size=2g,mode=700") else { return };
    seed_cache(disk.root());
    let fill = "dd if=/dev/urandom of=/fill bs=1M count=48";
    // One that hears of it, and one that does not wait to hear.
    for command in [format!("{fill} conv=fsync"), format!("{fill} || true")] {
        let more = format!("[build]\ncommands = [\"{command}\"]\n");
        let recipe = recipes::changed("tiny", "greedy", &more);
        // The guest's kernel, its initrd and all of its memory fit.
        disk.fill((128 + 32 + 16) * MIB);
        let bake =
            disk.command(["bake".as_ref(), recipe.path().as_os_str()]).deadline(crate::scene::DEADLINE);
        let root = disk.root().to_str().unwrap();
        let outcome =
            bake.finish().exits_with(1).says(&["no space left", root, "bytes were free", "spore prune"]);
        if !command.ends_with("true") {
            outcome.says(&[&command, "output ended with", "dd: "]);
        }
        disk.assert_nothing_left();
        disk.empty();
        disk.fsck();
    }
}
