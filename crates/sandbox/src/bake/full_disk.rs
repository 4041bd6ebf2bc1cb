//! What a bake's guest comes to on a host whose disk is full.
//!
//! The guest's disk and memory are sparse files. When there is no room for a page of the memory, the engine is killed; when
//! there is none for what is written to the disk, the guest is told of an error, which its kernel may keep to itself until
//! somebody syncs, and a build command may ignore. So whatever became of the guest, the host's disk is looked at.

use std::path::Path;

use store::Store;

use crate::Error;

/// Bytes that count as none: filesystems refuse before their last block is taken, and no snapshot is stored in less.
const ALMOST_NONE: u64 = 1 << 20;

/// Blames a full disk for what became of the guest. To be asked while the guest's files are there: they are what fills it.
pub(super) fn named<T>(store: &Store, result: Result<T, Error>) -> Result<T, Error> {
    match store.free_space() {
        Ok(free) => judge(store.root(), free, result),
        // Nothing is known of it.
        Err(_) => result,
    }
}

fn judge<T>(root: &Path, free: u64, result: Result<T, Error>) -> Result<T, Error> {
    if free >= ALMOST_NONE {
        return result;
    }
    Err(Error::DiskFull { root: root.to_owned(), free, during: result.err().map(Box::new) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_blamed_and_the_failure_kept() {
        let failed = || {
            Err::<(), _>(Error::BuildCommand {
                command: "make".to_owned(),
                status: 1,
                output: "make: I/O error".to_owned(),
            })
        };
        let text = |free| judge(Path::new("/srv/spore"), free, failed()).unwrap_err().to_string();
        for words in
            ["no space left", "/srv/spore", "8192 bytes", "spore prune", "\"make\"", "make: I/O error"]
        {
            assert!(text(8192).contains(words), "{words}: {}", text(8192));
        }
        assert!(!text(ALMOST_NONE).contains("space"), "{}", text(ALMOST_NONE));
        // A guest that has not noticed has lost something all the same.
        assert!(judge(Path::new("/"), 0, Ok(())).is_err());
        assert!(judge(Path::new("/"), ALMOST_NONE, Ok(())).is_ok());
    }
}
