//! What makes a fork another machine than its siblings.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_protocol::{BootId, Entropy, Hostname, Identity, InvalidIdentity, LinkState, MachineId};
use store::SandboxId;

/// Bytes of entropy that a fork's kernel is given: as many as its generator's state has, twice.
const ENTROPY_BYTES: usize = 64;

/// A new identity for the sandbox `id`: host name, ids and entropy that nothing else has, and the host's clock.
///
/// # Errors
/// If the kernel gives no random bytes.
pub(crate) fn fresh(id: &SandboxId, network_up: bool, deadline: Duration) -> io::Result<Identity> {
    let invalid = |error: InvalidIdentity| io::Error::other(error.to_string());
    let machine_id = hex(&random::<16>()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(Identity {
        entropy: Entropy::new(random::<ENTROPY_BYTES>()?.to_vec()).map_err(invalid)?,
        wall_clock_ns: u64::try_from(now.as_nanos()).map_err(io::Error::other)?,
        hostname: Hostname::try_from(id.to_string()).map_err(invalid)?,
        machine_id: MachineId::try_from(machine_id).map_err(invalid)?,
        boot_id: BootId::try_from(uuid(random()?)).map_err(invalid)?,
        network: Some(LinkState { up: network_up }),
        deadline_ms: u64::try_from(deadline.as_millis()).map_err(io::Error::other)?,
    })
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random UUID (RFC 9562, version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let digits = hex(&bytes);
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let id = SandboxId::random().unwrap();
        let make = || fresh(&id, false, Duration::from_secs(1)).unwrap();
        let (a, b) = (make(), make());
        assert_ne!(a.entropy, b.entropy);
        assert_ne!(a.machine_id, b.machine_id);
        assert_ne!(a.boot_id, b.boot_id);
        assert!(a.wall_clock_ns <= b.wall_clock_ns);
    }

    #[test]
    fn uuids_say_that_they_are_random() {
        assert_eq!(uuid([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
