//! Sockets as the kernel really treats them. Alone in its program, as `usage.rs`: a process that is forked has each socket for a moment, and
//! what was closed is still answered then.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use host::socket;

#[test]
fn sockets_work_where_paths_are_too_long_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(200));
    fs::create_dir(&long).unwrap();
    let opened = socket::folder(&long).unwrap();
    assert_eq!(socket::connect_in(&long, "s").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let listener = socket::bind(opened.as_fd(), "s").unwrap();
    assert_eq!(fs::metadata(long.join("s")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut sent = socket::connect_in(&long, "s").unwrap();
    sent.write_all(b"x").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    drop(listener);
    assert_eq!(socket::connect_in(&long, "s").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    // What a dead process left is replaced; anything else is not.
    let _listener = socket::bind(opened.as_fd(), "s").unwrap();
    socket::connect_in(&long, "s").unwrap();
    fs::write(long.join("file"), "precious").unwrap();
    assert!(socket::bind(opened.as_fd(), "file").is_err());
    assert_eq!(fs::read(long.join("file")).unwrap(), b"precious");
    for name in ["", ".", "..", "a/b", &"n".repeat(65)] {
        assert!(socket::bind(opened.as_fd(), name).is_err(), "{name}");
    }
}
