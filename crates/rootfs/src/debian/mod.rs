//! Debian bases, by mmdebstrap.

mod mirrors;
mod packages;

use std::fs;
use std::path::Path;

pub(crate) use mirrors::KEYRING;
pub use mirrors::Mirrors;
pub use packages::Package;
pub(crate) use packages::licenses_of;

use crate::error::IoContext;
use crate::recipe::{DebianBase, PackageName, Variant};
use crate::{Error, Progress, erofs, namespace};

/// Builds the tree and its image; see the head of the script.
const BUILD: &str = include_str!("build.sh");

/// Makes `image` of the base's packages and says which they are. `work` is an empty folder, which may
/// hold files of other users afterwards: remove it by [`namespace::remove_tree`].
pub(crate) fn build(
    base: &DebianBase,
    mirrors: &Mirrors,
    work: &Path,
    image: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Package>, Error> {
    let kept = Mirrors { archive: base.mirror.clone(), security: base.security_mirror.clone() };
    let fetched = mirrors.unless(base.mirror.as_ref(), base.security_mirror.as_ref());
    for (name, mirrors) in [("keep", &kept), ("fetch", &fetched)] {
        let file = work.join(name);
        fs::write(&file, mirrors.sources(&base.suite, &base.components, "")).io("write", &file)?;
    }
    crate::tools::Tool::Mmdebstrap.checked_path()?;
    crate::tools::Tool::MkfsErofs.checked_path()?;
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
        .args(erofs::OPTIONS)
        .watch(|line| {
            let message = line.strip_prefix("I: ").filter(|message| !message.starts_with("running --"));
            if let Some(message) = message {
                progress.stage("debian", message);
            }
        })?;
    let made = work.join("image");
    fs::rename(&made, image).io("rename", &made)?;
    let tree = work.join("tree");
    match base.variant {
        Variant::Minbase => packages::read(&tree.join("var/lib/dpkg/status"), &tree),
        Variant::Extract => packages::read(&work.join("unpacked"), &tree),
    }
}
