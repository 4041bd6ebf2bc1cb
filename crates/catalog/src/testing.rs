//! A hub's worth of snapshots that look real, of which there is nothing but the description: to see what a page looks
//! like, and how large it gets. What cannot be made up panics.

#![allow(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, HashSet};

use format::config::{Package, RecipeOrigin};
use format::manifest::{annotation, media_type};
use format::{Config, Descriptor, Digest, Manifest, Name, Tag};
use hub::describe::Description;

use crate::{CatalogError, Listing, Text};

/// Packages of a Debian base: `name|version|licence,licence|source` a line.
const BASE_PACKAGES: &str = include_str!("testing/packages.txt");

const MIB: u64 = 1 << 20;

/// A snapshot to make up.
#[derive(Debug, Clone)]
pub struct Sketch<'a> {
    /// Its name; also of its recipe.
    pub name: &'a str,
    /// Its recipe's version.
    pub version: &'a str,
    /// The day it was made.
    pub day: &'a str,
    /// Packages besides those of the base: `name|version|licence,licence|source`.
    pub packages: &'a [&'a str],
    /// MiB of memory in the snapshot, of disks of its own, and of the guest's memory.
    pub sizes: (u64, u64, u64),
    /// What the recipe itself is under.
    pub licences: &'a str,
    /// The snapshot that it is a fork of.
    pub parent: Option<Digest>,
}

/// A small one.
pub const SKETCH: Sketch<'_> = Sketch {
    name: "small",
    version: "1",
    day: "2026-01-01",
    packages: &[],
    sizes: (1, 1, 512),
    licences: "MIT",
    parent: None,
};

const PYTHON: &[&str] = &[
    "python3|3.11.2-1+b1|PSF-2,Expat|python3-defaults",
    "python3.11|3.11.2-6+deb12u6|PSF-2,Expat,BSD-3-clause,GPL-2+|python3.11",
    "python3-numpy|1:1.24.2-1+deb12u1|BSD-3-clause,BSD-2-clause,Apache-2.0|numpy",
    "libopenblas0-pthread|0.3.21+ds-4|BSD-3-clause,BSD-2-clause-texas|openblas",
    "libgfortran5|12.2.0-14+deb12u1|GPL-3+,GCC-exception-3.1|gcc-12",
];

const JUPYTER: &[&str] = &[
    "python3-ipykernel|6.17.0-1|BSD-3-clause|ipykernel",
    "python3-zmq|24.0.1-4+b1|BSD-3-clause,LGPL-3+|pyzmq",
    "python3-pandas|1.5.3+dfsg-2|BSD-3-clause,Expat,Apache-2.0|pandas",
    "python3-matplotlib|3.6.3-1+b1|PSF-2,Bitstream-Vera,BSD-3-clause|matplotlib",
    "micro-api|0.4.1|MIT|https://pypi.org/project/micro-api/0.4.1/",
];

const NODE: &[&str] = &[
    "nodejs|18.20.4+dfsg-1~deb12u1|Expat,BSD-3-clause,Artistic-2.0|nodejs",
    "libuv1|1.44.2-1+deb12u1|Expat,BSD-2-clause,ISC|libuv1",
    "libnode108|18.20.4+dfsg-1~deb12u1|Expat|nodejs",
];

const BROWSER: &[&str] = &[
    "chromium|131.0.6778.139-1~deb12u1|BSD-3-clause,LGPL-2.1+,MPL-1.1,Apache-2.0|chromium",
    "fonts-dejavu-core|2.37-6|Bitstream-Vera,public-domain|fonts-dejavu",
    "libgtk-3-0|3.24.38-2~deb12u3|LGPL-2+,LGPL-2.1+|gtk+3.0",
    "libnss3|2:3.87.1-1+deb12u1|MPL-2.0,Zlib,public-domain|nss",
];

const AGENT: &[&str] = &[
    "git|1:2.39.5-0+deb12u1|GPL-2,LGPL-2.1+,Expat|git",
    "python3-pytest|7.2.1-2|Expat|pytest",
    "ripgrep|13.0.0-4+b2|Expat,Unlicense|rust-ripgrep",
];

const POSTGRES: &[&str] = &[
    "postgresql-15|15.10-0+deb12u1|PostgreSQL,BSD-3-clause,Tcl|postgresql-15",
    "libpq5|15.10-0+deb12u1|PostgreSQL|postgresql-15",
    "libllvm14|1:14.0.6-12|Apache-2.0,NCSA|llvm-toolchain-14",
];

/// A hub with seven names, several versions of one, two variants of another, and a tag that cannot be pulled.
///
/// # Errors
/// Never.
pub fn hub() -> Result<Listing, CatalogError> {
    let mut listing = Listing::default();
    let sketch = |name, version, day, packages, sizes, licences| Sketch {
        name,
        version,
        day,
        packages,
        sizes,
        licences,
        ..SKETCH
    };
    let mut latest = None;
    for (version, day) in [
        ("1.0", "2026-01-12"),
        ("1.1", "2026-02-03"),
        ("1.2", "2026-02-20"),
        ("1.3", "2026-03-02"),
        ("1.4", "2026-03-18"),
    ] {
        let made = sketch("python-numpy", version, day, PYTHON, (16, 1, 512), "Apache-2.0").describe();
        latest = Some(made.digest);
        add(&mut listing, "python-numpy", &[version], &made)?;
        if version == "1.4" {
            add(&mut listing, "python-numpy", &["1", "latest"], &made)?;
        }
    }
    let kernel = Sketch {
        parent: latest,
        ..sketch("jupyter-kernel", "6.17", "2026-03-11", JUPYTER, (38, 24, 1024), "BSD-3-Clause")
    };
    let kernel = kernel.describe();
    add(&mut listing, "jupyter-kernel", &["6.17", "latest"], &kernel)?;
    let interpreter = Sketch {
        parent: Some(kernel.digest),
        ..sketch("code-interpreter", "0.4", "2026-03-14", JUPYTER, (61, 30, 1024), "Apache-2.0")
    };
    add(&mut listing, "code-interpreter", &["0.4", "latest"], &interpreter.describe())?;
    let browser = sketch("browser", "131", "2026-03-09", BROWSER, (118, 210, 2048), "BSD-3-Clause");
    add(&mut listing, "browser", &["131", "latest"], &browser.describe())?;
    let agent = Sketch {
        parent: Some(Digest::of(b"elsewhere")),
        ..sketch("coding-agent", "2", "2026-03-17", AGENT, (44, 35, 1024), "Apache-2.0 AND MIT")
    };
    add(&mut listing, "coding-agent", &["2", "latest"], &agent.describe())?;
    let postgres = sketch("postgres", "15.10", "2026-03-05", POSTGRES, (29, 52, 512), "PostgreSQL");
    add(&mut listing, "postgres", &["15", "15.10", "latest"], &postgres.describe())?;
    let problem = Text::problem("the manifest that came has the digest sha256:77ab…: it is corrupt there");
    listing.add_tag(&name("postgres"), tag("16-rc"), None, [Err(problem)])?;
    variants(&mut listing, &sketch("nodejs", "18.20", "2026-03-07", NODE, (21, 17, 512), "Apache-2.0"))?;
    Ok(listing)
}

/// A hub of so many snapshots, each with so many packages, most of which all of them have.
///
/// # Errors
/// [`CatalogError::TooLarge`] if that is more than a catalogue holds.
pub fn large_hub(snapshots: usize, packages: usize) -> Result<Listing, CatalogError> {
    let mut listing = Listing::default();
    let base = BASE_PACKAGES.lines().count();
    for n in 0..snapshots {
        let package = |p: usize| match p % 3 {
            0 => format!("python3-module-{p}|1.{p}.{n}-1+deb12u1|BSD-3-clause,Expat|module-{p}"),
            1 => format!("library{p}-dev|2:{p}.4+dfsg-{n}|GPL-2+,LGPL-2.1+|library{p}"),
            _ => format!("tool-{p}|{p}.0-2|Apache-2.0|https://pypi.org/project/tool-{p}/{p}.0/"),
        };
        let packages: Vec<_> = (base..packages).map(package).collect();
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        let name = format!("team-{}/machine-{n}", n % 7);
        let sketch = Sketch { name: &name, packages: &packages, ..SKETCH };
        add(&mut listing, &name, &["1.0", "latest"], &sketch.describe())?;
    }
    Ok(listing)
}

fn name(text: &str) -> Name {
    text.parse().expect("names of tests are names")
}

fn tag(text: &str) -> Tag {
    text.parse().expect("tags of tests are tags")
}

fn add(listing: &mut Listing, name_: &str, tags: &[&str], made: &Description) -> Result<(), CatalogError> {
    listing.add_snapshot(made)?;
    for text in tags {
        listing.add_tag(&name(name_), tag(text), Some(made.digest), [Ok(made.digest)])?;
    }
    Ok(())
}

/// One tag with two variants, of which the second runs on KVM.
fn variants(listing: &mut Listing, sketch: &Sketch<'_>) -> Result<(), CatalogError> {
    let tcg = sketch.describe();
    let mut kvm = sketch.config();
    kvm.engine.accelerator = format::config::Accelerator::Kvm;
    kvm.engine.cpu.model = "Skylake-Server".to_owned();
    let kvm = sketch.described(kvm, "kvm");
    let variants = [tcg.digest, kvm.digest];
    listing.add_snapshot(&tcg)?;
    listing.add_snapshot(&kvm)?;
    listing.add_tag(&name(sketch.name), tag(sketch.version), Some(Digest::of(b"index")), variants.map(Ok))
}

impl Sketch<'_> {
    /// What a hub would say of it.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.described(self.config(), "tcg")
    }

    fn config(&self) -> Config {
        let mut config = format::testing::config(2, 300 * MIB);
        let (_, _, memory) = self.sizes;
        config.machine.memory = config.machine.profile.memory_regions(memory * MIB);
        config.machine.vcpus = if memory > 512 { 2 } else { 1 };
        let provenance = &mut config.provenance;
        provenance.recipe = Some(RecipeOrigin {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            digest: Digest::of(self.name.as_bytes()),
        });
        let packages = BASE_PACKAGES.lines().chain(self.packages.iter().copied());
        provenance.packages = packages.map(package).collect();
        provenance.packages.sort_by(|a, b| a.name.cmp(&b.name));
        provenance.tools =
            [("mkfs.erofs", "1.5"), ("mmdebstrap", "1.3.1")].map(|(a, b)| (a.into(), b.into())).into();
        provenance.kernel_version = "6.1.0-28-cloud-amd64".to_owned();
        provenance.created_at = format!("{}T09:30:00Z", self.day);
        config.lineage.parent = self.parent;
        config
    }

    fn described(&self, config: Config, variant: &str) -> Description {
        let (memory, disks, _) = self.sizes;
        let own = |what: &str| format!("{what} of {} {} {variant}", self.name, self.version);
        let mut layers = vec![
            blob(media_type::ENGINE_STATE, &own("state"), 40 << 10),
            blob(media_type::KERNEL, "kernel", 7 * MIB),
            blob(media_type::INITRD, "initrd", 2 * MIB),
            Descriptor { digest: config.memory.map, ..blob(media_type::MAP, "", 30 << 10) },
        ];
        let maps = config.disks.iter();
        layers.extend(maps.map(|disk| Descriptor { digest: disk.map, ..blob(media_type::MAP, "", 9 << 10) }));
        let memory = blob(media_type::FRAMES, &own("memory"), memory * MIB + 123_456);
        let memory_frames = HashSet::from([memory.digest]);
        layers.push(memory);
        layers.push(blob(media_type::FRAMES, "frames of the base", 56 * MIB + 654_321));
        layers.push(blob(media_type::FRAMES, &own("disks"), disks * MIB + 55_555));
        let encoded = config.encode().expect("configs of tests are valid");
        let config_blob = Descriptor {
            media_type: media_type::CONFIG.to_owned(),
            digest: Digest::of(&encoded),
            size: encoded.len() as u64,
            annotations: BTreeMap::new(),
        };
        let annotations = [
            (annotation::TITLE, self.name),
            (annotation::BASE_NAME, "debian bookworm"),
            (annotation::LICENSES, self.licences),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let manifest = Manifest::new(config_blob, layers, annotations.into());
        let bytes = serde_json::to_vec(&manifest).expect("manifests are JSON");
        Description {
            digest: Digest::of(&bytes),
            manifest_bytes: bytes.len() as u64,
            manifest,
            config,
            memory_frames,
        }
    }
}

fn blob(media_type: &str, content: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(content.as_bytes()),
        size,
        annotations: BTreeMap::new(),
    }
}

fn package(line: &str) -> Package {
    let mut fields = line.split('|').map(str::to_owned);
    let mut field = || fields.next().unwrap_or_default();
    let (name, version, licences, source) = (field(), field(), field(), field());
    let licences = licences.split(',').map(str::to_owned).collect();
    Package { name, source_version: version.clone(), version, licences, source }
}
