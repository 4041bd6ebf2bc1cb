//! The kernel interfaces that rustix has no safe function for. All `unsafe` of the agent is here.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::ioctl::{NoArg, Opcode, Setter, Updater, ioctl, opcode};
use rustix::process::Pid;

use crate::users::Credentials;

const ADD_ENTROPY: Opcode = opcode::write::<[c_int; 2]>(b'R', 0x03);
const RESEED: Opcode = opcode::none(b'R', 0x07);
const TRIM: Opcode = opcode::read_write::<TrimRange>(b'X', 121);
const FREEZE: Opcode = opcode::read_write::<c_int>(b'X', 119);
const SET_FLAGS: Opcode = 0x8914;
const SET_ADDRESS: Opcode = 0x8916;
const SET_NETMASK: Opcode = 0x891c;
const ADD_ROUTE: Opcode = 0x890b;

const ENTROPY_MAX: usize = 256;

/// `struct rand_pool_info`.
#[repr(C)]
struct RandPoolInfo {
    entropy_bits: c_int,
    size: c_int,
    bytes: [u8; ENTROPY_MAX],
}

/// `struct fstrim_range`.
#[repr(C)]
struct TrimRange {
    start: u64,
    length: u64,
    min_length: u64,
}

/// `struct sockaddr_in`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SockAddr {
    family: u16,
    port: u16,
    address: [u8; 4],
    zero: [u8; 8],
}

impl From<Ipv4Addr> for SockAddr {
    fn from(address: Ipv4Addr) -> Self {
        const AF_INET: u16 = 2;
        SockAddr { family: AF_INET, address: address.octets(), ..SockAddr::default() }
    }
}

/// `struct ifreq` with an address.
#[repr(C)]
struct AddressRequest {
    name: [u8; 16],
    address: SockAddr,
    rest: [u8; 8],
}

/// `struct ifreq` with flags.
#[repr(C)]
struct FlagsRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// `struct rtentry`.
#[repr(C)]
#[derive(Default)]
struct Route {
    pad1: usize,
    destination: SockAddr,
    gateway: SockAddr,
    mask: SockAddr,
    flags: u16,
    pad2: i16,
    pad3: usize,
    pad4: usize,
    metric: i16,
    device: usize,
    mtu: usize,
    window: usize,
    irtt: u16,
}

/// Mixes `entropy` into the kernel's pool, credits all of it, and makes the generator take it up at once.
pub(crate) fn reseed_kernel(entropy: &[u8]) -> io::Result<()> {
    let device = std::fs::File::open("/dev/urandom")?;
    let mut bytes = [0; ENTROPY_MAX];
    bytes.iter_mut().zip(entropy).for_each(|(to, from)| *to = *from);
    let size = c_int::try_from(entropy.len().min(ENTROPY_MAX)).map_err(io::Error::other)?;
    let info = RandPoolInfo { entropy_bits: size * 8, size, bytes };
    // SAFETY: RNDADDENTROPY reads a rand_pool_info of which `size` bytes follow its two integers; there are
    // ENTROPY_MAX, and `size` is no more.
    unsafe { ioctl(&device, Setter::<ADD_ENTROPY, _>::new(info))? };
    // SAFETY: RNDRESEEDCRNG has no argument.
    unsafe { ioctl(&device, NoArg::<RESEED>::new())? };
    Ok(())
}

/// Tells the disk under the file system of `folder` which of its blocks are free.
pub(crate) fn trim(folder: BorrowedFd<'_>) -> io::Result<()> {
    let mut range = TrimRange { start: 0, length: u64::MAX, min_length: 0 };
    // SAFETY: FITRIM reads and writes one fstrim_range.
    unsafe { ioctl(folder, Updater::<TRIM, _>::new(&mut range))? };
    Ok(())
}

/// Lets nothing more be written to the file system of `folder`, once all that was written is on its disk.
pub(crate) fn freeze(folder: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: FIFREEZE neither reads nor writes through its argument (Linux, fs/ioctl.c).
    unsafe { ioctl(folder, NoArg::<FREEZE>::new())? };
    Ok(())
}

/// Brings a network interface up or down.
pub(crate) fn set_link(socket: BorrowedFd<'_>, interface: &str, up: bool) -> io::Result<()> {
    const IFF_UP: i16 = 1;
    let request = FlagsRequest { name: name(interface), flags: if up { IFF_UP } else { 0 }, rest: [0; 22] };
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which FlagsRequest has the size and layout of.
    unsafe { ioctl(socket, Setter::<SET_FLAGS, _>::new(request))? };
    Ok(())
}

/// Gives a network interface its IPv4 address.
pub(crate) fn set_address(
    socket: BorrowedFd<'_>,
    interface: &str,
    address: Ipv4Addr,
    mask: Ipv4Addr,
) -> io::Result<()> {
    let request =
        |address: Ipv4Addr| AddressRequest { name: name(interface), address: address.into(), rest: [0; 8] };
    // SAFETY: SIOCSIFADDR reads one ifreq, which AddressRequest has the size and layout of.
    unsafe { ioctl(socket, Setter::<SET_ADDRESS, _>::new(request(address)))? };
    // SAFETY: as above.
    unsafe { ioctl(socket, Setter::<SET_NETMASK, _>::new(request(mask)))? };
    Ok(())
}

/// Adds the default route; it may exist already.
pub(crate) fn add_default_route(socket: BorrowedFd<'_>, gateway: Ipv4Addr) -> io::Result<()> {
    const RTF_UP_GATEWAY: u16 = 1 | 2;
    let any = SockAddr::from(Ipv4Addr::UNSPECIFIED);
    let route = Route {
        destination: any,
        mask: any,
        gateway: gateway.into(),
        flags: RTF_UP_GATEWAY,
        ..Route::default()
    };
    // SAFETY: SIOCADDRT reads one rtentry; its device pointer is null.
    match unsafe { ioctl(socket, Setter::<ADD_ROUTE, _>::new(route)) } {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

fn name(interface: &str) -> [u8; 16] {
    let mut name = [0; 16];
    // The last byte stays zero.
    name.iter_mut().take(15).zip(interface.bytes()).for_each(|(to, from)| *to = from);
    name
}

/// Blocks SIGCHLD and returns a descriptor that is readable when one came. Children inherit the block, until
/// [`prepare`] lifts it.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that the later calls read.
    let fd = unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigaddset(mask.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, mask.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, mask.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives the process the empty signal mask that programs expect. Safe between fork and exec.
fn unblock_signals() -> io::Result<()> {
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that sigprocmask reads; both may be called in a forked child.
    let result = unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to the process group that `leader` leads, or to every process but this one.
pub(crate) fn kill(leader: Option<Pid>, signal: i32) -> io::Result<()> {
    let target = leader.map_or(-1, |pid| -pid.as_raw_nonzero().get());
    // SAFETY: kill takes plain integers.
    let result = unsafe { libc::kill(target, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What of a program's descriptors is not as usual.
#[derive(Default)]
pub(crate) enum Extra {
    /// Nothing.
    #[default]
    None,
    /// It inherits one more, under the number in this variable.
    Inherited(&'static str, OwnedFd),
    /// Its standard input is the terminal that controls it.
    Terminal,
}

/// Makes the command's process lead its own session, with these credentials and with what else it is to have.
pub(crate) fn prepare(command: &mut Command, credentials: Option<Credentials>, extra: Extra) {
    let child = move || -> io::Result<()> {
        unblock_signals()?;
        rustix::process::setsid()?;
        match &extra {
            Extra::None => {}
            Extra::Inherited(_, fd) => {
                rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::empty())?;
            }
            Extra::Terminal => {
                let terminal = rustix::stdio::stdin();
                rustix::process::ioctl_tiocsctty(terminal)?;
                // Programs open it by its name too, which only its owner can.
                let owner = credentials.as_ref().map(|credentials| credentials.uid);
                rustix::fs::fchown(terminal, owner, None)?;
            }
        }
        if let Some(credentials) = &credentials {
            rustix::thread::set_thread_groups(&credentials.groups)?;
            rustix::thread::set_thread_res_gid(credentials.gid, credentials.gid, credentials.gid)?;
            rustix::thread::set_thread_res_uid(credentials.uid, credentials.uid, credentials.uid)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes plain system calls on what was allocated before the fork, nothing else.
    unsafe { command.pre_exec(child) };
}
