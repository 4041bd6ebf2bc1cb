//! The guest's one network card, with a static IPv4 address.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use agent_protocol::Network;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::sys;

const LOOPBACK: &str = "lo";

/// Raises the loopback interface; gives the card, if there is one, its address, and leaves it down.
pub(crate) fn prepare(network: Option<&Network>) -> io::Result<()> {
    let socket = socket()?;
    sys::set_link(socket.as_fd(), LOOPBACK, true)?;
    if let (Some(network), Some(card)) = (network, card()?) {
        let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0);
        sys::set_address(socket.as_fd(), &card, network.address, Ipv4Addr::from(mask))?;
        // An address raises its interface.
        sys::set_link(socket.as_fd(), &card, false)?;
    }
    Ok(())
}

/// Raises or lowers the card. The default route goes with the link, so it is set each time.
pub(crate) fn set_up(network: &Network, up: bool) -> io::Result<()> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "the guest has no network card");
    let card = card()?.ok_or_else(missing)?;
    let socket = socket()?;
    sys::set_link(socket.as_fd(), &card, up)?;
    if up {
        sys::add_default_route(socket.as_fd(), network.gateway)?;
    }
    Ok(())
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// The first interface that a device stands behind.
fn card() -> io::Result<Option<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        if entry.path().join("device").exists() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names.into_iter().min())
}
