//! `reseed.node`: a module for Node.js that does one thing, when it is loaded: it makes the OpenSSL of the process that
//! loads it draw a new seed from the kernel. Node has no function for that, and its OpenSSL asks the kernel only once
//! in an hour or so: until then all forks of a process would draw the same keys, tokens and UUIDs.
//!
//! Node calls a module's entry each time it is loaded, so it can be loaded once per fork. It needs no library: the
//! entry's name is Node-API's, and `RAND_poll` is looked for in the process, which has OpenSSL in it or beside it.
//! `crates/spore/build.rs` builds it.

#![no_std]

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

unsafe extern "C" {
    /// Reseeds the process's primary generator; those of its threads notice, and reseed from that.
    fn RAND_poll() -> c_int;
}

/// Node-API's entry. Returns the module's exports as they are; nothing, which is an error, if there is no new seed.
///
/// # Safety
/// To be called by Node only; both arguments are its own, and not looked into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(_env: *mut c_void, exports: *mut c_void) -> *mut c_void {
    // SAFETY: it takes no arguments and may be called at any time, by any thread.
    if unsafe { RAND_poll() } == 1 { exports } else { null_mut() }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
