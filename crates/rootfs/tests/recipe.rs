//! What recipes are accepted, and what people are told about the others.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::recipe;
use rootfs::{Base, GuestPath, ImageSource, Owner, Ready, Recipe, Runner, Variant, WarmStart};

const DEBIAN: &str = "[base]\ndebian = \"bookworm\"\n";

/// What is said about a recipe with these lines, without the file's name.
fn problem(lines: &str) -> String {
    let folder = recipe(lines);
    fs::write(folder.path().join("warm.py"), "").unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    symlink("/etc", folder.path().join("outside")).unwrap();
    symlink(".", folder.path().join("itself")).unwrap();
    let message = Recipe::load(folder.path()).unwrap_err().to_string();
    let file = format!("{}: ", folder.path().join("recipe.toml").display());
    message.strip_prefix(&file).unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn a_full_recipe_is_read() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md")).unwrap();
    let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recipe.toml"), example).unwrap();
    for name in ["app", "app/bin"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["warm.py", "settings.ini"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let recipe = Recipe::load(folder.path()).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.version.as_str()), ("team/report-writer", "3.1"));
    let Base::Debian(base) = &recipe.base else { panic!("{:?}", recipe.base) };
    assert_eq!((base.suite.as_str(), base.variant, base.packages.len()), ("bookworm", Variant::Minbase, 2));
    assert_eq!(recipe.kernel.as_str(), "bookworm-backports");
    assert_eq!(recipe.files[1].owner, Owner { uid: 1000, gid: 1000 });
    assert_eq!(recipe.build.timeout.duration().as_secs(), 300);
    assert_eq!((recipe.machine.vcpus, recipe.machine.memory.bytes()), (2, 1 << 30));
    let warm = recipe.warm.unwrap();
    assert!(matches!(warm.start, WarmStart::Runner { runner: Runner::Python, .. }), "{warm:?}");
    assert_eq!(warm.ready, Ready::Runner);
    assert_eq!(recipe.on_fork.unwrap().deadline.duration().as_secs(), 5);
}

#[test]
fn the_way_from_a_dockerfile_is_read() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md")).unwrap();
    let example =
        document.split("```toml\n# warm-app").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recipe.toml"), format!("# {example}")).unwrap();
    fs::write(folder.path().join("app.tar"), "").unwrap();
    let warm = Recipe::load(folder.path()).unwrap().warm.unwrap();
    assert_eq!((warm.start, warm.user, warm.cwd), (WarmStart::Image, None, None));
}

#[test]
fn images_are_named_as_skopeo_names_them() {
    let image = |text: &str| {
        let folder = recipe(&format!("[base]\nimage = \"{text}\"\n"));
        fs::create_dir(folder.path().join("tree")).unwrap();
        fs::write(folder.path().join("app.tar"), "").unwrap();
        match Recipe::load(folder.path()).unwrap().base {
            Base::Image(image) => {
                assert_eq!(image.to_string(), text);
                image.source
            }
            base => panic!("{base:?}"),
        }
    };
    for (text, expected) in
        [("oci:tree", None), ("oci:tree:1.2", Some("1.2")), ("oci:tree:a/b:c", Some("a/b:c"))]
    {
        let ImageSource::Layout { folder, tag } = image(text) else { panic!("{text}") };
        assert_eq!((folder.relative(), tag.as_deref()), ("tree", expected));
    }
    assert!(
        matches!(image("oci-archive:app.tar:v1"), ImageSource::OciArchive { tag: Some(tag), .. } if tag == "v1")
    );
    let named = image("docker-archive:app.tar:host/app:1");
    assert!(matches!(named, ImageSource::DockerArchive { name: Some(name), .. } if name == "host/app:1"));
    let digest = format!("sha256:{}", "1".repeat(64));
    for (text, expected) in [
        ("docker://localhost:5000/app", "localhost:5000/app:latest".to_owned()),
        ("docker://ghcr.io/a/b:1", "ghcr.io/a/b:1".to_owned()),
        ("docker://docker.io/debian:12", "docker.io/library/debian:12".to_owned()),
        (&format!("docker://ghcr.io/a/b@{digest}"), format!("ghcr.io/a/b@{digest}")),
    ] {
        let ImageSource::Registry(image) = image(text) else { panic!("{text}") };
        assert_eq!(image.to_string(), expected);
    }
}

#[test]
fn bases_that_are_no_image_are_refused() {
    let forms = "expected oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG] or docker://HOST/NAME[:TAG]";
    for (text, end) in [
        ("debian:12", format!("\"debian:12\" is no image: {forms}")),
        ("docker:debian", format!("\"docker:debian\" is no image: {forms}")),
        ("oci:warm.py", "\"warm.py\" is not a folder".to_owned()),
        ("oci-archive:tree", "\"tree\" is not a file".to_owned()),
        (
            "docker-archive:outside/passwd",
            "\"outside/passwd\" leads out of the recipe's folder by a symbolic link".into(),
        ),
    ] {
        assert_eq!(problem(&format!("[base]\nimage = \"{text}\"\n")), format!("base.image: {end}"));
    }
    for text in ["docker://debian:12", "docker://local/debian", "docker://host/UPPER"] {
        let said = problem(&format!("[base]\nimage = \"{text}\"\n"));
        assert!(said.starts_with(&format!("base.image: \"{text}\": ")), "{said}");
    }
    assert_eq!(problem("[base]\ntar = \"tree\"\n"), "base.tar: \"tree\" is not a file");
    // Only an image says what to start.
    let said = problem("[base]\ndirectories = [\"tree\"]\n[warm.ready]\nfile = \"/x\"\n");
    assert_eq!(said, "warm: expected either command, or runner and script");
}

#[test]
fn the_defaults() {
    let folder = recipe(DEBIAN);
    let recipe = Recipe::load(folder.path()).unwrap();
    let machine = &recipe.machine;
    assert_eq!(
        (machine.vcpus, machine.memory.to_string(), machine.disk.to_string()),
        (1, "512MiB".into(), "1GiB".into())
    );
    assert!(machine.init_on_free && recipe.warm.is_none() && !recipe.build.network);
    assert_eq!(recipe.kernel.as_str(), "bookworm");
    let folder = common::recipe(
        "[base]\ndirectories = [\"a\"]\n[warm]\ncommand = [\"/a\"]\n[warm.ready]\nfile = \"/run/ready\"\n",
    );
    fs::create_dir(folder.path().join("a")).unwrap();
    let recipe = Recipe::load(folder.path()).unwrap();
    assert_eq!(recipe.kernel.as_str(), "bookworm");
    let warm = recipe.warm.unwrap();
    let run: GuestPath = "/run/ready".parse().unwrap();
    assert_eq!((warm.user, warm.cwd, warm.ready), (None, None, Ready::File(run)));
}

#[test]
fn the_recipes_of_this_repository_are_right() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let folders: Vec<_> = fs::read_dir(recipes).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 2);
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let recipe = Recipe::load(folder).unwrap();
        assert!(folder.ends_with(recipe.name.as_str()), "{}", folder.display());
    }
}

#[test]
fn unknown_keys_and_wrong_values_are_shown_with_their_line() {
    let shown = problem("[base]\ndebian = \"bookworm\"\npackage = [\"x\"]\n");
    let expected = "TOML parse error at line 5, column 1\n  |\n5 | package = [\"x\"]\n  | ^^^^^^^\nunknown field `package`, \
                    expected one of `debian`, `variant`, `packages`, `components`, `mirror`, `security_mirror`, \
                    `directories`, `image`, `tar`\n";
    assert_eq!(shown, expected);
    let shown = problem(&format!("{DEBIAN}[machine]\nmemory = \"512MB\"\n"));
    let expected = "TOML parse error at line 6, column 10\n  |\n6 | memory = \"512MB\"\n  |          ^^^^^^^\n\
                    \"512MB\" is not allowed here: expected a size such as \"512MiB\" or \"1GiB\"\n";
    assert_eq!(shown, expected);
}

#[test]
fn values_that_do_not_fit() {
    let with = |lines: &str| problem(&format!("{DEBIAN}{lines}"));
    for (shown, expected) in [
        (
            problem("[base]\n"),
            "base: expected exactly one of debian, directories, image and tar, it has none of them",
        ),
        (
            with("directories = [\"tree\"]\n"),
            "base: expected exactly one of debian, directories, image and tar, it has several of them",
        ),
        (
            problem("[base]\ndirectories = [\"tree\"]\npackages = [\"bash\"]\n"),
            "base.packages: only goes with base.debian, which this base is not",
        ),
        (
            problem("[base]\ndebian = \"bookworm-backports\"\n"),
            "base.debian: expected the suite that bookworm-backports is made for",
        ),
        (with("variant = \"extract\"\n"), "base.packages: variant \"extract\" needs at least one package"),
        (problem("[base]\ndirectories = []\n"), "base.directories: expected at least one folder"),
        (
            problem("[base]\ndirectories = [\"warm.py\"]\n"),
            "base.directories[0]: \"warm.py\" is not a folder",
        ),
        (
            problem(&format!("[base]\ndirectories = [{}]\n", "\"tree\",".repeat(13))),
            "base: makes 13 layers: at most 12 are allowed",
        ),
        (
            problem(&format!(
                "[[files]]\nsource = \"tree\"\ndestination = \"/\"\n[base]\ndirectories = [{}]\n",
                "\"tree\",".repeat(12)
            )),
            "base: makes 13 layers, the one of the added files included: at most 12 are allowed",
        ),
        (with("[machine]\nvcpus = 65\n"), "machine.vcpus: is 65: expected 1 to 64"),
        (
            with("[machine]\nmemory = \"65MiB\"\n"),
            "machine.memory: is 65MiB: expected 64MiB to 1TiB, a multiple of 2MiB",
        ),
        (
            with("[machine]\ndisk = \"1MiB\"\n"),
            "machine.disk: is 1MiB: expected 32MiB to 15TiB, a multiple of 1MiB",
        ),
        (with("[warm]\n"), "warm: expected either command, or runner and script"),
        (with("[warm]\nrunner = \"python\"\n"), "warm: expected either command, or runner and script"),
        (
            with("[warm]\ncommand = [\"/a\"]\n"),
            "warm.ready: expected command or file: without a runner nothing else tells when it is warm",
        ),
        (
            with("[warm]\ncommand = [\"/a\"]\nready = { runner = true }\n"),
            "warm.ready.runner: only goes with warm.runner",
        ),
        (
            with(
                "[warm]\nrunner = \"python\"\nscript = \"warm.py\"\nready = { runner = true, file = \"/a\" }\n",
            ),
            "warm.ready: expected exactly one of runner = true, command and file",
        ),
        (
            with("[on_fork]\ncommand = []\n"),
            "on_fork.command: expected a list that starts with a program, such as [\"/bin/true\"]",
        ),
        (
            with("[[files]]\nsource = \"tree\"\ndestination = \"/a\"\nmode = \"0644\"\n"),
            "files[0].mode: \"tree\" is a folder: expected a file, or no mode",
        ),
        (
            with("[environment]\nA = \"\\u0000\"\n"),
            "environment.A: expected at most 131072 bytes without NUL",
        ),
    ] {
        assert_eq!(shown, expected);
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    for (path, expected) in [
        ("../x", "must be a path relative to the recipe's folder, without `.` and `..`"),
        ("/etc", "must be a path relative to the recipe's folder, without `.` and `..`"),
        ("", "must be a path relative to the recipe's folder, without `.` and `..`"),
        (".", "must be a path relative to the recipe's folder, without `.` and `..`"),
        ("outside", "leads out of the recipe's folder by a symbolic link"),
        ("outside/passwd", "leads out of the recipe's folder by a symbolic link"),
        ("itself", "leads out of the recipe's folder by a symbolic link"),
    ] {
        let end = format!("{path:?} {expected}");
        let files = format!("{DEBIAN}[[files]]\nsource = \"{path}\"\ndestination = \"/a\"\n");
        assert_eq!(problem(&files), format!("files[0].source: {end}"));
        assert_eq!(
            problem(&format!("[base]\ndirectories = [\"{path}\"]\n")),
            format!("base.directories[0]: {end}")
        );
        let warm = format!("{DEBIAN}[warm]\nrunner = \"python\"\nscript = \"{path}\"\n");
        assert_eq!(problem(&warm), format!("warm.script: {end}"));
    }
    assert!(
        problem(&format!("{DEBIAN}[[files]]\nsource = \"tree\"\ndestination = \"/../x\"\n"))
            .contains("absolute path")
    );
}

#[test]
fn a_folder_without_recipe_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = Recipe::load(folder.path()).unwrap_err().to_string();
    assert!(message.starts_with("cannot read the recipe /") && message.contains("recipe.toml"), "{message}");
}
