//! When whoever takes a stream grants its sender more: not for each piece, since a grant is a message, which costs the guest more than
//! the bytes do.

use agent_protocol::INITIAL_CREDIT;

/// Bytes that were taken before they are granted again.
const GRANT_BYTES: u32 = INITIAL_CREDIT / 2;
/// What a stream of output is granted besides, once, when it turns out to be long: a pipe in the guest that is as large as the credit
/// fills again while what it held is on its way.
const LONG_STREAM_BYTES: u32 = INITIAL_CREDIT;

/// What was taken of one stream, whose sender began with [`INITIAL_CREDIT`].
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Bytes that were taken and are not granted again yet.
    taken: u32,
    /// Bytes that are granted besides, with the next grant.
    more: u32,
}

impl Grants {
    /// Of a stream of output of a sandbox's owner, whose credit is doubled once it is long. A caller of a forwarded port keeps the first one.
    pub(crate) fn that_may_double() -> Self {
        Self { taken: 0, more: LONG_STREAM_BYTES }
    }

    /// Adds so many bytes that were taken. Those that are to be granted now, when it is worth a message.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<u32> {
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let is_enough = self.taken >= GRANT_BYTES;
        is_enough.then(|| std::mem::take(&mut self.taken).saturating_add(std::mem::take(&mut self.more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the sender of a stream may have on its way, at each grant, while it is taken in uneven pieces.
    fn outstanding(mut grants: Grants) -> Vec<u32> {
        let granted = grants.take(GRANT_BYTES as usize - 1);
        assert_eq!(granted, None);
        let mut allowed = INITIAL_CREDIT - (GRANT_BYTES - 1);
        let pieces = [1, GRANT_BYTES, 5, GRANT_BYTES + 7];
        let after = pieces.map(|length| {
            allowed = allowed - length + grants.take(length as usize).unwrap_or(0);
            allowed + grants.taken
        });
        assert_eq!(grants.taken, 0);
        after.to_vec()
    }

    #[test]
    fn what_was_taken_is_granted_again() {
        assert_eq!(outstanding(Grants::default()), [INITIAL_CREDIT; 4]);
    }

    #[test]
    fn a_long_stream_is_granted_twice_its_first_credit() {
        assert_eq!(outstanding(Grants::that_may_double()), [2 * INITIAL_CREDIT; 4]);
    }
}
