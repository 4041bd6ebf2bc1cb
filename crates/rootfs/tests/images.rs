//! Layers of container images and of tar archives, looked at by the tools of erofs-utils.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{has, recipe, unpack};
use image::{Image, Layer, Packing, pack, write_archive};
use rootfs::{BaseImage, BaseSource, Error, Mirrors, NoLayers, NoRegistries, Recipe, Silent};
use serde_json::json;
use tar::EntryType;

fn build(folder: &Path, out: &Path) -> Result<BaseImage, Error> {
    let recipe = Recipe::load(folder).unwrap();
    BaseSource::open(&recipe, &NoRegistries)?.build(&Mirrors::default(), None, &NoLayers, out, &Silent)
}

/// The digests of the layers of a recipe with this base, in whose folder `prepare` puts something.
fn layers(base: &str, prepare: impl FnOnce(&Path)) -> Result<Vec<String>, Error> {
    let folder = recipe(&format!("[base]\n{base}\n"));
    prepare(folder.path());
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path())?;
    Ok(image.layers.iter().map(|layer| layer.digest.to_string()).collect())
}

/// What a base is refused for.
fn refusal(base: &str, prepare: impl FnOnce(&Path)) -> String {
    layers(base, prepare).unwrap_err().to_string()
}

/// Two layers that have everything that a layer can.
fn sample() -> Image {
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let lower = Layer::new()
        .folder("./", 0o755)
        .folder("usr/", 0o755)
        .folder("usr/bin/", 0o755)
        .file_with(
            "usr/bin/ping",
            b"ping",
            0o4755,
            0,
            &[("security.capability", capability), ("user.a", b"1\n2")],
        )
        .link(EntryType::Link, "usr/bin/ping6", "usr/bin/ping")
        .link(EntryType::Symlink, "bin", "usr/bin")
        .file_with("home/ann/.profile", b"# ann", 0o600, 100_000, &[])
        .folder("etc/", 0o755)
        .file("etc/gone", b"x")
        .folder("var/cache/", 0o1777)
        .file("var/cache/old", b"x")
        .device("dev/null", 1, 3);
    let upper = Layer::new()
        .file("etc/.wh.gone", b"")
        .file("var/cache/.wh..wh..opq", b"")
        .file("var/cache/new", &vec![b'n'; 10_000])
        .link(EntryType::Symlink, "deep", &"d/".repeat(2000));
    Image::new(vec![lower.build(), upper.build()])
}

#[test]
fn an_image_is_the_same_wherever_it_comes_from() {
    let sample = sample();
    let write = |packing| {
        let sample = &sample;
        move |folder: &Path| {
            sample.write_layout(&folder.join("layout"), None, packing);
        }
    };
    let expected = layers("image = \"oci:layout\"", write(Packing::Plain)).unwrap();
    assert_eq!(expected.len(), 2);
    for packing in [Packing::Gzip, Packing::Zstd] {
        assert_eq!(layers("image = \"oci:layout\"", write(packing)).unwrap(), expected, "{packing:?}");
    }
    let archived = layers("image = \"oci-archive:image.tar:v1\"", |folder| {
        sample.write_layout(&folder.join("layout"), Some("v1"), Packing::Gzip);
        write_archive(&folder.join("layout"), &folder.join("image.tar"));
    });
    assert_eq!(archived.unwrap(), expected);
    let saved = layers("image = \"docker-archive:saved.tar\"", |folder| {
        sample.write_docker_archive(&folder.join("saved.tar"), &["app:1"]);
    });
    assert_eq!(saved.unwrap(), expected);
    for base in ["docker-archive:saved.tar", "docker-archive:saved.tar:app:1", "oci-archive:saved.tar"] {
        let saved = layers(&format!("image = \"{base}\""), |folder| {
            sample.write_docker_layout(&folder.join("layout"), &["app:1"]);
            write_archive(&folder.join("layout"), &folder.join("saved.tar"));
        });
        assert_eq!(saved.unwrap(), expected, "{base}");
    }
    // As one archive, the lower layer is the same layer.
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let one = layers("tar = \"base.tar\"", |folder| {
            fs::write(folder.join("base.tar"), pack(&sample.layers[0], packing)).unwrap();
        });
        assert_eq!(one.unwrap(), expected[..1], "{packing:?}");
    }
}

#[test]
fn archives_of_other_tools_are_read() {
    let here = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !here("skopeo") || !here("tar") {
        println!("skipped: archives_of_other_tools_are_read: skopeo or tar is missing");
        return;
    }
    let run = |folder: &Path, program: &str, arguments: &[&str]| {
        let done = Command::new(program).current_dir(folder).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let sample = sample();
    let expected = layers("image = \"oci:layout\"", |folder| {
        sample.write_layout(&folder.join("layout"), None, Packing::Plain);
    })
    .unwrap();
    for (base, made) in [
        ("oci-archive:made.tar:app", "oci-archive:made.tar:app"),
        ("docker-archive:made.tar", "docker-archive:made.tar:example.org/app:1"),
        ("docker-archive:made.tar:example.org/app:1", "docker-archive:made.tar:example.org/app:1"),
    ] {
        let found = layers(&format!("image = \"{base}\""), |folder| {
            sample.write_layout(&folder.join("layout"), None, Packing::Gzip);
            run(folder, "skopeo", &["--insecure-policy", "copy", "oci:layout", made]);
        });
        assert_eq!(found.unwrap(), expected, "{base}");
    }
    // GNU tar's own format, and pax; with names longer than a header has room for.
    let long = format!("{0}/{0}", "n".repeat(200));
    let of_tree = |format: &str| {
        layers("tar = \"base.tar.gz\"", |folder| {
            let tree = folder.join("tree");
            fs::create_dir_all(tree.join(&long)).unwrap();
            fs::write(tree.join(&long).join("file"), "content").unwrap();
            std::os::unix::fs::symlink(&long, tree.join("link")).unwrap();
            fs::hard_link(tree.join(&long).join("file"), tree.join("again")).unwrap();
            let own = ["--owner=0", "--group=0", "--mtime=@1600000000", "--sort=name"];
            let pack = ["-C", "tree", "-czf", "base.tar.gz", format, "."];
            run(folder, "tar", &[&own[..], &pack].concat());
        })
        .unwrap()
    };
    assert_eq!(of_tree("--format=gnu"), of_tree("--format=pax"));
}

/// Golden: what is made of an image may change only with the key under which it is cached.
#[test]
fn layers_are_these_bytes() {
    let sample = sample();
    let found = layers("image = \"oci:layout\"", |folder| {
        sample.write_layout(&folder.join("layout"), None, Packing::Plain);
    });
    assert_eq!(
        found.unwrap(),
        [
            "sha256:3eb14041288fc339de39b63792c96cf5f9175a9288b0c1a416cc42354cfc7bb9",
            "sha256:b8e04edbccf59f01b0b59d9fbba1cdec3368ade91f076273b2ccda7a084fa2aa",
        ]
    );
}

#[test]
fn all_that_an_archive_says_is_in_the_layer() {
    if !has("all_that_an_archive_says_is_in_the_layer", &["dump.erofs"]) {
        return;
    }
    let folder = recipe("[base]\nimage = \"oci:layout\"\n");
    sample().write_layout(&folder.path().join("layout"), None, Packing::Gzip);
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path()).unwrap();
    for layer in &image.layers {
        let checked = Command::new("fsck.erofs").arg(&layer.path).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        assert!(layer.size.is_multiple_of(4096));
    }
    let lower = out.path().join("lower");
    unpack(&image.layers[0].path, &lower);
    let meta = |path: &str| lower.join(path).symlink_metadata().unwrap();
    assert_eq!(fs::read(lower.join("usr/bin/ping6")).unwrap(), b"ping");
    assert_eq!(fs::read_link(lower.join("bin")).unwrap(), Path::new("usr/bin"));
    // Without the set-ID bits, which fsck.erofs does not set.
    assert_eq!((meta("usr/bin/ping").mode() & 0o777, meta("usr/bin/ping").mtime()), (0o755, 1_600_000_000));
    assert_eq!(meta("var/cache").mode(), 0o41_777);
    let look = |layer: usize, path: &str| common::look(&image.layers[layer].path, path);
    assert!(look(0, "/usr/bin/ping").contains("Links: 2"), "{}", look(0, "/usr/bin/ping"));
    assert!(look(0, "/home/ann/.profile").contains("Uid: 100000   Gid: 100001 "));
    assert!(look(0, "/usr/bin/ping").contains("Xattr size: "), "{}", look(0, "/usr/bin/ping"));
    let upper = out.path().join("upper");
    unpack(&image.layers[1].path, &upper);
    assert_eq!(fs::read(upper.join("var/cache/new")).unwrap(), vec![b'n'; 10_000]);
    assert_eq!(fs::read_link(upper.join("deep")).unwrap(), PathBuf::from("d/".repeat(2000)));
    if rustix::process::geteuid().is_root() {
        let whiteout = upper.join("etc/gone").symlink_metadata().unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        let null = meta("dev/null");
        assert!(null.file_type().is_char_device() && null.rdev() == rustix::fs::makedev(1, 3));
    }
}

#[test]
fn folders_of_any_size_are_whole() {
    if !has("folders_of_any_size_are_whole", &["dump.erofs"]) {
        return;
    }
    // Names that sort before and behind the folder's own two, and so many that several blocks are full.
    let mut names: Vec<String> =
        (0..700).map(|number| format!("{number}-{}", "n".repeat(number % 250))).collect();
    names.extend(["!", "-", "..x", "~", "\u{fc}"].map(str::to_owned));
    let layer =
        names.iter().fold(Layer::new(), |layer, name| layer.file(&format!("d/{name}"), name.as_bytes()));
    let folder = recipe("[base]\ntar = \"base.tar\"\n");
    fs::write(folder.path().join("base.tar"), layer.build()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path()).unwrap();
    let unpacked = out.path().join("unpacked");
    unpack(&image.layers[0].path, &unpacked);
    let found = fs::read_dir(unpacked.join("d")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    let found: BTreeMap<String, Vec<u8>> = found.collect();
    assert_eq!(found.len(), names.len());
    for name in &names {
        assert_eq!(found[name], name.as_bytes());
    }
}

#[test]
fn deep_images_become_twelve_layers() {
    if !has("deep_images_become_twelve_layers", &["dump.erofs", "fsck.erofs"]) {
        return;
    }
    // Each hides the file of the one before.
    let layer = |number: usize| {
        let layer = Layer::new().file(&format!("layers/{number}"), number.to_string().as_bytes());
        let layer = layer.file("top", number.to_string().as_bytes());
        match number {
            0 => layer.folder("layers", 0o700),
            _ => layer.file(&format!("layers/.wh.{}", number - 1), b""),
        }
        .build()
    };
    let deep = Image::new((0..40).map(layer).collect());
    let write = |folder: &Path| {
        deep.write_layout(&folder.join("layout"), None, Packing::Zstd);
    };
    let base = "image = \"oci:layout\"";
    let first = layers(base, write).unwrap();
    assert_eq!(first.len(), 12);
    assert_eq!(layers(base, write).unwrap(), first);
    let folder =
        recipe(&format!("[base]\n{base}\n[[files]]\nsource = \"recipe.toml\"\ndestination = \"/added\"\n"));
    write(folder.path());
    let out = tempfile::tempdir().unwrap();
    let image = build(folder.path(), out.path()).unwrap();
    assert_eq!(image.layers.len(), 12, "the layer of the added files is one of them");
    let bottom = out.path().join("bottom");
    unpack(&image.layers[0].path, &bottom);
    // 30 of 40: what they hide from each other is gone, and nothing is hidden any more.
    let names: Vec<_> =
        fs::read_dir(bottom.join("layers")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["29"]);
    assert_eq!(fs::read(bottom.join("top")).unwrap(), b"29");
    assert_eq!(bottom.join("layers").symlink_metadata().unwrap().mode(), 0o40_700);
    let next = out.path().join("next");
    unpack(&image.layers[1].path, &next);
    assert_eq!(next.join("layers").symlink_metadata().unwrap().mode(), 0o40_700, "as in the layers below");
    assert_eq!(fs::read_dir(next.join("layers")).unwrap().count(), 2, "a file and a whiteout");
}

#[test]
fn keys_follow_what_the_image_holds() {
    let sample = sample();
    let key = |image: &Image, packing| {
        let folder = recipe("[base]\nimage = \"oci:layout\"\n");
        image.write_layout(&folder.path().join("layout"), None, packing);
        BaseSource::open(&Recipe::load(folder.path()).unwrap(), &NoRegistries).unwrap().key().unwrap()
    };
    assert_eq!(key(&sample, Packing::Plain), key(&sample, Packing::Gzip));
    let other = Image::new(sample.layers[..1].to_vec());
    assert_ne!(key(&sample, Packing::Plain), key(&other, Packing::Plain));
}

#[test]
fn an_image_says_how_its_processes_run() {
    let process = json!({
        "User": "app:staff", "WorkingDir": "/srv", "Env": ["PATH=/opt/bin:/bin", "A=b=c", "NO"],
        "Entrypoint": ["/run.sh"], "Cmd": ["serve", "--all"],
    });
    let folder = recipe("[base]\nimage = \"oci:layout\"\n");
    let image = Image::with_process(sample().layers, &process);
    let manifest = image.write_layout(&folder.path().join("layout"), Some("latest"), Packing::Plain);
    let recipe = Recipe::load(folder.path()).unwrap();
    let source = BaseSource::open(&recipe, &NoRegistries).unwrap();
    let defaults = source.defaults();
    assert_eq!((defaults.user.as_deref(), defaults.cwd.as_deref()), (Some("app:staff"), Some("/srv")));
    assert_eq!(defaults.command, ["/run.sh", "serve", "--all"]);
    assert_eq!(
        defaults.env.into_iter().collect::<Vec<_>>(),
        [("A".to_owned(), "b=c".to_owned()), ("PATH".to_owned(), "/opt/bin:/bin".to_owned())]
    );
    // What an image leaves open is said before a layer is fetched.
    let silent = recipe_folder_of_silent_image();
    let error = BaseSource::open(&Recipe::load(silent.path()).unwrap(), &NoRegistries).unwrap_err();
    assert!(error.to_string().contains("neither ENTRYPOINT nor CMD: say warm.command"), "{error}");
    let origin = source.image().unwrap();
    assert_eq!((origin.reference.as_str(), origin.manifest), ("oci:layout", Some(manifest)));
    assert_eq!(origin.config, format::Digest::of(&image.config));
}

fn recipe_folder_of_silent_image() -> tempfile::TempDir {
    let folder = recipe("[base]\nimage = \"oci:layout\"\n[warm.ready]\nfile = \"/ready\"\n");
    sample().write_layout(&folder.path().join("layout"), None, Packing::Plain);
    folder
}

#[test]
fn the_image_that_is_meant_is_taken() {
    let (one, two) = (Image::new(sample().layers[..1].to_vec()), sample());
    let write = |folder: &Path| {
        one.write_layout(&folder.join("layout"), Some("one"), Packing::Plain);
        two.write_layout(&folder.join("layout"), Some("two"), Packing::Plain);
    };
    assert_eq!(layers("image = \"oci:layout:one\"", write).unwrap().len(), 1);
    assert_eq!(layers("image = \"oci:layout:two\"", write).unwrap().len(), 2);
    let said = refusal("image = \"oci:layout\"", write);
    assert!(said.contains("several images") && said.contains("one, two"), "{said}");
    // A digest names one as well.
    let digest = one.write_layout(&tempfile::tempdir().unwrap().path().join("layout"), None, Packing::Plain);
    assert_eq!(layers(&format!("image = \"oci:layout:{digest}\""), write).unwrap().len(), 1);
    let many = |folder: &Path| {
        for number in 0..12 {
            one.write_layout(
                &folder.join("layout"),
                Some(&format!("{number:02}").repeat(60)),
                Packing::Plain,
            );
        }
    };
    let said = refusal("image = \"oci:layout\"", many);
    assert!(said.ends_with("…, 2 more") && said.len() < 1200, "{said}");
    let said = refusal("image = \"oci:layout:three\"", write);
    assert!(said.contains("no image in it is named \"three\"; it has one, two"), "{said}");
}

#[test]
fn only_images_for_this_kind_of_machine_are_taken() {
    let layout = |folder: &Path, platforms: &[&str]| {
        let layout = folder.join("layout");
        let digest = sample().write_layout(&layout, None, Packing::Plain);
        let size = fs::metadata(layout.join("blobs/sha256").join(digest.hex())).unwrap().len();
        // Only the one that is to be chosen is there.
        let best = ["amd64", "amd64/v1", ""].into_iter().find(|name| platforms.contains(name));
        let entry = |name: &&str| {
            let (architecture, variant) = name.split_once('/').unwrap_or((name, ""));
            let is_best = best == Some(name);
            let digest = if is_best { digest } else { format::Digest::of(name.as_bytes()) };
            let (platform, variant) = match (architecture, variant) {
                ("", _) => return json!({"digest": digest, "size": size}),
                (_, "other") => (architecture, ""),
                known => known,
            };
            let platform = json!({"os": "linux", "architecture": platform, "variant": variant});
            json!({"digest": digest, "size": size, "platform": platform})
        };
        let entries: Vec<_> = platforms.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let digest = format::Digest::of(index.as_bytes());
        fs::write(layout.join("blobs/sha256").join(digest.hex()), &index).unwrap();
        let outer = json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": index.len()}]});
        fs::write(layout.join("index.json"), outer.to_string()).unwrap();
    };
    let base = "image = \"oci:layout\"";
    for platforms in
        [&["arm64", "amd64"][..], &["amd64/v3", "amd64", "amd64/v1"], &["amd64/v2", "amd64/v1"], &[""]]
    {
        assert_eq!(layers(base, |folder| layout(folder, platforms)).unwrap().len(), 2, "{platforms:?}");
    }
    let said = refusal(base, |folder| layout(folder, &["arm64", "riscv64"]));
    assert!(said.contains("linux/arm64, linux/riscv64: expected linux/amd64"), "{said}");
    let said = refusal(base, |folder| layout(folder, &["amd64/v2", "amd64/v3"]));
    assert!(said.contains("linux/amd64/v2, linux/amd64/v3: expected linux/amd64, of no variant"), "{said}");
    let said = refusal(base, |folder| layout(folder, &["amd64", "amd64/other"]));
    assert!(said.contains("has several images for linux/amd64: name one of sha256:"), "{said}");
}

#[test]
fn what_is_not_what_its_digest_says_is_refused() {
    let base = "image = \"oci:layout\"";
    let damage = |which: fn(&Image) -> Vec<u8>, change: fn(&mut Vec<u8>)| {
        refusal(base, |folder| {
            let sample = sample();
            sample.write_layout(&folder.join("layout"), None, Packing::Plain);
            let blob = which(&sample);
            let path = folder.join("layout/blobs/sha256").join(format::Digest::of(&blob).hex());
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        })
    };
    let layer = |image: &Image| image.layers[1].clone();
    let config = |image: &Image| image.config.clone();
    for (said, says) in [
        (damage(layer, |bytes| bytes[600] ^= 1), "layer 2"),
        (damage(layer, |bytes| bytes.truncate(700)), "layer 2"),
        (damage(layer, Vec::clear), "layer 2"),
        (damage(config, |bytes| bytes[9] ^= 1), "config is damaged"),
        (damage(config, |bytes| bytes.truncate(9)), "config is damaged"),
    ] {
        assert!(said.contains(says) && said.contains("sha256:"), "{said}");
    }
    // The time in gzip's header: the blob is another one, and unpacks to the same.
    let said = refusal(base, |folder| {
        let sample = sample();
        sample.write_layout(&folder.join("layout"), None, Packing::Gzip);
        let blob = pack(&sample.layers[0], Packing::Gzip);
        let path = folder.join("layout/blobs/sha256").join(format::Digest::of(&blob).hex());
        fs::write(path, [&blob[..4], &[blob[4] ^ 1], &blob[5..]].concat()).unwrap();
    });
    assert!(said.contains("layer 1") && said.contains("its blob should be"), "{said}");
    let refused = |image: &Image| {
        refusal(base, |folder| {
            image.write_layout(&folder.join("layout"), None, Packing::Gzip);
        })
    };
    // A config that names other layers than the manifest has.
    let mut wrong = sample();
    wrong.config = Image::new(vec![wrong.layers[1].clone(), wrong.layers[0].clone()]).config;
    let said = refused(&wrong);
    assert!(said.contains("layer 1") && said.contains("unpacks to"), "{said}");
    wrong.config = Image::new(vec![wrong.layers[1].clone()]).config;
    let said = refused(&wrong);
    assert!(said.contains("names 1 layers, its manifest 2"), "{said}");
}

#[test]
fn documents_are_bounded() {
    let base = "image = \"oci:layout\"";
    let index = |text: String| {
        refusal(base, move |folder| {
            fs::create_dir(folder.join("layout")).unwrap();
            fs::write(folder.join("layout/index.json"), text).unwrap();
        })
    };
    let digest = format::Digest::of(b"x");
    for (text, says) in [
        ("[".repeat(100_000), "not as that of an image"),
        (format!("{{\"manifests\":[{}]}}", " ".repeat(5 << 20)), "more than 4194304 bytes"),
        (
            json!({"manifests": [{"digest": digest, "size": 1_u64 << 40}]}).to_string(),
            "at most 4194304 are read",
        ),
        (
            json!({"manifests": [{"digest": "sha256:../../x", "size": 1}]}).to_string(),
            "not as that of an image",
        ),
        (json!({"manifests": [{"digest": digest, "size": 1}]}).to_string(), "it has no blobs/sha256/"),
        (json!({"manifests": []}).to_string(), "for none"),
        ("{}".to_owned(), "expected either config and layers"),
    ] {
        let said = index(text);
        assert!(said.contains(says), "{said}");
    }
    let said = refusal("image = \"docker-archive:saved.tar\"", |folder| {
        fs::write(folder.join("saved.tar"), pack(&sample().layers[0], Packing::Gzip)).unwrap();
    });
    assert!(said.contains("compressed by gzip: decompress it first"), "{said}");
}

#[test]
fn archives_of_images_lead_nowhere_else() {
    let one = Image::new(sample().layers[..1].to_vec());
    let saved = |layer: &str, target: Option<&str>, doubled: &str| {
        let index = json!([{"Config": "config.json", "Layers": [layer]}]).to_string();
        refusal("image = \"docker-archive:saved.tar\"", |folder| {
            let mut builder = tar::Builder::new(fs::File::create(folder.join("saved.tar")).unwrap());
            image::append(&mut builder, "config.json", &one.config);
            image::append(&mut builder, "manifest.json", index.as_bytes());
            image::append(&mut builder, doubled, b"");
            if let Some(target) = target {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, "0/layer.tar", target).unwrap();
            }
            builder.into_inner().unwrap();
        })
    };
    for (said, says) in [
        (saved("../../../etc/passwd", None, "x"), "it has no ../../../etc/passwd"),
        (saved("/etc/passwd", None, "x"), "it has no /etc/passwd"),
        (saved("0/layer.tar", Some("../../etc/passwd"), "x"), "whose target leads out of the archive"),
        (saved("0/layer.tar", Some("/etc/passwd"), "x"), "whose target is absolute"),
        (saved("0/layer.tar", Some("../0/layer.tar"), "x"), "it has no 0/layer.tar"),
        (saved("0/layer.tar", None, "config.json"), "/config.json is there twice"),
    ] {
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_failure_leaves_nothing() {
    let folder = recipe("[base]\ntar = \"base.tar\"\n");
    for (layer, says) in [
        (
            Layer::new().file("ok", b"x").link(EntryType::Symlink, "l", "/etc").file("l/x", b"x"),
            "symbolic link",
        ),
        (Layer::new().file("ok", b"x").device("whiteout", 0, 0), "character device 0:0"),
    ] {
        fs::write(folder.path().join("base.tar"), layer.build()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let said = build(folder.path(), out.path()).unwrap_err().to_string();
        assert!(said.contains("base.tar") && said.contains(says), "{said}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
    fs::write(folder.path().join("base.tar"), b"BZh91AY").unwrap();
    let out = tempfile::tempdir().unwrap();
    let said = build(folder.path(), out.path()).unwrap_err().to_string();
    assert!(said.contains("compressed by bzip2"), "{said}");
}
