//! The first root filesystem of a guest: the agent, its configuration, drivers and runner files.

use std::io::Write as _;
use std::path::Path;

use crate::cpio::Archive;
use crate::error::IoContext;
use crate::modules::select;
use crate::{Error, GuestModule, Kernel};

/// Slow to make, made once per bake, unpacked at each boot.
const ZSTD_LEVEL: i32 = 19;

/// What an initrd holds besides drivers.
#[derive(Debug, Clone, Copy)]
pub struct InitrdContent<'a> {
    /// The agent's executable, which becomes `/init`.
    pub agent: &'a [u8],
    /// The agent's configuration, which becomes `/spore/guest.json`.
    pub guest_config: &'a [u8],
    /// Names and contents of runner files, which go to `/spore/runners/`.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// The drivers for a kernel, to be packed with the agent.
#[derive(Debug, Clone)]
pub struct Initrd {
    modules: Vec<GuestModule>,
}

impl Initrd {
    /// Chooses and reads the drivers that a guest with `kernel` needs.
    ///
    /// # Errors
    /// If a driver that a guest cannot do without is missing or damaged.
    pub fn for_kernel(kernel: &Kernel) -> Result<Self, Error> {
        Ok(Self { modules: select(kernel)? })
    }

    /// The drivers, in the order in which the agent must load them.
    #[must_use]
    pub fn modules(&self) -> &[GuestModule] {
        &self.modules
    }

    /// Packs all into one zstd frame of a newc archive: the same bytes for the same content.
    ///
    /// # Errors
    /// If a runner file's name has more than one part, or something is too large for the archive.
    pub fn build(&self, content: &InitrdContent<'_>) -> Result<Vec<u8>, Error> {
        let mut archive = Archive::default();
        archive.file("init", 0o755, content.agent);
        archive.file("spore/guest.json", 0o644, content.guest_config);
        // Without it what the agent says before it has mounted devices is lost.
        archive.device("dev/console", 5, 1);
        archive.device("dev/null", 1, 3);
        for (name, bytes) in content.files {
            if name.is_empty() || name.contains('/') || matches!(*name, "." | "..") {
                let problem = "must have a plain name to be put into the initrd";
                return Err(Error::AddedFile { path: (*name).to_owned(), problem });
            }
            archive.file(&format!("spore/runners/{name}"), 0o644, bytes);
        }
        for module in &self.modules {
            archive.file(module.path().trim_start_matches('/'), 0o644, module.content());
        }
        compress(&archive.finish()?).io("compress", Path::new("initrd"))
    }
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_one_equal_frame() {
        let initrd = Initrd { modules: Vec::new() };
        let content =
            InitrdContent { agent: &[7; 100_000], guest_config: b"{}", files: &[("python.py", b"pass\n")] };
        let packed = initrd.build(&content).unwrap();
        assert_eq!(packed, initrd.build(&content).unwrap());
        assert_eq!(zstd::zstd_safe::find_frame_compressed_size(&packed), Ok(packed.len()));
        let archive = zstd::stream::decode_all(packed.as_slice()).unwrap();
        for name in
            ["init\0", "dev/console\0", "spore/guest.json\0", "spore/runners/python.py\0", "TRAILER!!!\0"]
        {
            assert!(archive.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn runner_files_stay_in_their_folder() {
        let initrd = Initrd { modules: Vec::new() };
        for name in ["", "..", "a/b", "/x"] {
            let content = InitrdContent { agent: b"", guest_config: b"", files: &[(name, b"")] };
            assert!(initrd.build(&content).is_err(), "{name}");
        }
    }
}
