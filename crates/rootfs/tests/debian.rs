//! Debian bases and kernels, made by the real mmdebstrap and apt from the network.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::{has, unpack};
use rootfs::{
    BaseImage, BaseSource, Initrd, InitrdContent, Mirrors, NoRegistries, Package, Recipe, Silent,
    fetch_kernel,
};

const NEEDED: [&str; 5] = ["mkfs.erofs", "dump.erofs", "mmdebstrap", "unshare", "newuidmap"];

fn tiny() -> Recipe {
    Recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/tiny")).unwrap()
}

/// Whether the archive answers; says that the test is skipped otherwise.
fn is_online(test: &str, mirrors: &Mirrors) -> bool {
    use std::net::{TcpStream, ToSocketAddrs as _};
    if std::env::var_os("http_proxy").is_some() || mirrors.archive.is_some() {
        return true;
    }
    let addresses = ("deb.debian.org", 80).to_socket_addrs();
    let reached = addresses.is_ok_and(|mut addresses| {
        addresses
            .any(|address| TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5)).is_ok())
    });
    if !reached {
        println!("skipped: {test}: deb.debian.org cannot be reached");
    }
    reached
}

#[test]
fn an_unpacked_base_is_the_same_twice() {
    let (test, mirrors) = ("an_unpacked_base_is_the_same_twice", Mirrors::from_environment().unwrap());
    if !has(test, &NEEDED) || !is_online(test, &mirrors) {
        return;
    }
    let build = || {
        let out = tempfile::tempdir().unwrap();
        let recipe = tiny();
        let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
        let image = source.build(&mirrors, out.path(), &Silent).unwrap();
        (out, image)
    };
    let ((out, first), (_keep, second)) = (build(), build());
    let digests = |image: &BaseImage| image.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(first.layers.len(), 2);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2, "only layers are left");
    let [Package { name, version, source, source_version, licenses }] = first.packages.as_slice() else {
        panic!("{:?}", first.packages)
    };
    assert_eq!((name.as_str(), source.as_str()), ("busybox-static", "busybox"));
    assert!(version.starts_with(source_version), "{version} is of {source_version}");
    assert!(licenses.iter().any(|license| license.starts_with("GPL-2")), "{licenses:?}");

    let unpacked = out.path().join("unpacked");
    unpack(&first.layers[0].path, &unpacked);
    assert_eq!(fs::read_to_string(unpacked.join("etc/hostname")).unwrap(), "localhost\n");
    assert_eq!(fs::read_to_string(unpacked.join("etc/resolv.conf")).unwrap(), "");
    assert_eq!(fs::read_dir(unpacked.join("dev")).unwrap().count(), 0);
    let copyright = unpacked.join("usr/share/doc/busybox-static/copyright");
    assert!(copyright.is_file(), "what is passed on needs the notices of its authors");
    let sources = fs::read_to_string(unpacked.join("etc/apt/sources.list")).unwrap();
    assert!(sources.lines().all(|line| line.starts_with("deb http://deb.debian.org/debian")), "{sources}");
}

#[test]
fn a_kernel_is_fetched_and_its_drivers_are_packed() {
    let (test, mirrors) =
        ("a_kernel_is_fetched_and_its_drivers_are_packed", Mirrors::from_environment().unwrap());
    if !has(test, &["apt-get", "apt-cache", "dpkg-deb"]) || !is_online(test, &mirrors) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let kernel = fetch_kernel(&tiny(), &mirrors, out.path(), &Silent).unwrap();
    assert!(
        kernel.version.starts_with("6.1.0-") && kernel.version.ends_with("-cloud-amd64"),
        "{}",
        kernel.version
    );
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2, "only vmlinuz and modules are left");
    let initrd = Initrd::for_kernel(&kernel).unwrap();
    let names: Vec<_> = initrd.modules().iter().map(|module| module.name.as_str()).collect();
    let position = |name: &str| names.iter().position(|found| *found == name);
    for (first, then) in [("virtio_ring", "virtio_pci"), ("virtio", "virtio_blk"), ("libcrc32c", "erofs")] {
        assert!(position(first).is_some() && position(first) < position(then), "{names:?}");
    }
    let content = InitrdContent { agent: b"agent", guest_config: b"{}", files: &[] };
    assert!(initrd.build(&content).unwrap().len() > 100_000);
}
