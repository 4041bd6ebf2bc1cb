//! Debian bases, by mmdebstrap.

mod mirrors;
mod packages;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use mirrors::KEYRING;
pub use mirrors::Mirrors;
pub use packages::Package;
pub(crate) use packages::licenses_of;

use crate::error::IoContext;
use crate::recipe::{DebianBase, PackageName, Variant};
use crate::{Error, Progress, erofs, namespace};

/// Builds the tree and its archive; see the head of the script.
const BUILD: &str = include_str!("build.sh");

/// Makes a tar archive of the base's packages in `work`, an empty folder, and says which they are.
pub(crate) fn build(
    base: &DebianBase,
    mirrors: &Mirrors,
    work: &Path,
    progress: &dyn Progress,
) -> Result<(PathBuf, Vec<Package>), Error> {
    let kept = Mirrors { archive: base.mirror.clone(), security: base.security_mirror.clone() };
    let fetched = mirrors.unless(base.mirror.as_ref(), base.security_mirror.as_ref());
    for (name, mirrors) in [("keep", &kept), ("fetch", &fetched)] {
        let file = work.join(name);
        fs::write(&file, mirrors.sources(&base.suite, &base.components, "")).io("write", &file)?;
    }
    crate::tools::Tool::Mmdebstrap.checked_path()?;
    crate::tools::Tool::Tar.checked_path()?;
    let names: Vec<_> = base.packages.iter().map(PackageName::as_str).collect();
    let names = names.join(",");
    let variant = match base.variant {
        Variant::Minbase => "minbase",
        Variant::Extract => "extract",
    };
    let epoch = erofs::FILE_TIME.to_string();
    let act = format!("building a Debian {} tree", base.suite);
    namespace::script(&act, BUILD, [work.as_os_str()])?
        .args([variant, base.suite.as_str(), &names, KEYRING, &epoch])
        .watch(|line| {
            let message = line.strip_prefix("I: ").filter(|message| !message.starts_with("running --"));
            if let Some(message) = message {
                progress.stage("debian", message);
            }
        })?;
    let tree = work.join("tree");
    let packages = match base.variant {
        Variant::Minbase => packages::read(&tree.join("var/lib/dpkg/status"), &tree),
        Variant::Extract => packages::read(&work.join("unpacked"), &tree),
    }?;
    // All of it is in the archive.
    namespace::remove_tree(&tree)?;
    Ok((work.join("base.tar"), packages))
}
