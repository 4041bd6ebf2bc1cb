//! A flag, else a variable, else the file, else a default; and `spore config` says which it was.

use std::fs;

use serde_json::Value;

use crate::harness::run::Run;
use crate::harness::{Spore, files};

/// A value of `spore config`, and where it comes from.
#[track_caller]
fn setting(run: Run, name: &str) -> (Value, String) {
    let document = run.args(["--format", "json"]).finish().succeeds().json();
    let settings = document["settings"].as_array().unwrap();
    let one =
        settings.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}: {document}"));
    (one["value"].clone(), one["from"].as_str().unwrap().to_owned())
}

#[test]
fn flags_come_before_variables_before_the_file_before_defaults() {
    let folder = files::scratch("settings");
    let file = folder.path().join("config.toml");
    let spore = Spore::new();
    let config = || spore.command(["config"]).env("SPORE_CONFIG", &file);
    for (name, variable, flag, [in_file, by_variable, by_flag], default) in [
        ("log_format", "SPORE_LOG_FORMAT", "--log-format", ["'json'", "text", "json"], "text"),
        ("accel", "SPORE_ACCEL", "", ["'kvm'", "tcg", ""], ""),
        ("debian_mirror", "SPORE_DEBIAN_MIRROR", "", ["'http://a'", "http://b", ""], ""),
        ("qemu_data", "SPORE_QEMU_DATA", "", ["['/a', '/b']", "/c:/d", ""], ""),
        ("log", "SPORE_LOG", "", ["'off'", "error", ""], ""),
    ] {
        let unset = || {
            let mut run = config();
            run.command().env_remove(variable);
            run
        };
        fs::write(&file, "").unwrap();
        let (value, from) = setting(unset(), name);
        assert_eq!((value.as_str().unwrap_or_default(), from.as_str()), (default, "default"));
        fs::write(&file, format!("{name} = {in_file}\n")).unwrap();
        let plain = in_file.replace("', '", ":").replace(['\'', '[', ']'], "");
        assert_eq!(setting(unset(), name), (plain.as_str().into(), "file".to_owned()));
        // One that is set and empty says nothing.
        assert_eq!(setting(unset().env(variable, ""), name).1, "file");
        let set = || unset().env(variable, by_variable);
        assert_eq!(setting(set(), name), (by_variable.into(), variable.to_owned()));
        if !flag.is_empty() {
            assert_eq!(setting(set().args([flag, by_flag]), name), (by_flag.into(), flag.to_owned()));
        }
    }
}

#[test]
fn a_root_is_where_the_chain_says() {
    let folder = files::scratch("settings");
    let [file, by_file, by_variable] =
        ["config.toml", "by-file", "by-variable"].map(|name| folder.path().join(name));
    fs::write(&file, format!("root = {by_file:?}\nformat = 'json'\n")).unwrap();
    // Without the flag that the others give.
    let run = |words: &[&str]| {
        let mut run =
            Run::new(files::program()).args(words).env("SPORE_CONFIG", &file).env("HOME", folder.path());
        for name in ["SPORE_ROOT", "SPORE_FORMAT", "XDG_DATA_HOME"] {
            run.command().env_remove(name);
        }
        run
    };
    assert!(run(&["images"]).finish().succeeds().json()["images"].is_array());
    assert!(by_file.join("oci-layout").exists());
    run(&["images", "--format", "text"]).env("SPORE_ROOT", &by_variable).finish().succeeds();
    assert!(by_variable.join("oci-layout").exists());
    assert_eq!(setting(run(&["config"]), "root").1, "file");
    assert_eq!(setting(run(&["config"]).env("SPORE_ROOT", &by_variable), "root").1, "SPORE_ROOT");
    // Nothing was made where nobody said.
    assert!(!folder.path().join(".local").exists());
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line() {
    let folder = files::scratch("settings");
    let file = folder.path().join("config.toml");
    let spore = Spore::new();
    for (text, says) in [
        ("quiet = true\nacel = 'tcg'\n", &["line 2", "acel", "accel"][..]),
        ("\n\nformat = 'xml'\n", &["line 3", "xml", "text"]),
        ("[hubs]\n\na = 'relative'\n", &["line 3", "relative"]),
    ] {
        fs::write(&file, text).unwrap();
        for verb in ["config", "ps", "images", "doctor"] {
            let refused = spore.command([verb]).env("SPORE_CONFIG", &file).finish().exits_with(2);
            refused.says(says).says(&[file.to_str().unwrap()]);
        }
        // What needs no configuration does not fail for it.
        for verb in [&["version"][..], &["completions", "bash"], &["--help"]] {
            spore.command(verb).env("SPORE_CONFIG", &file).finish().succeeds();
        }
    }
}

#[test]
fn the_file_chooses_the_engine() {
    let folder = files::scratch("settings");
    let file = folder.path().join("config.toml");
    fs::write(&file, "qemu = '/nowhere/qemu'\n").unwrap();
    let spore = Spore::new();
    let mut run = spore.command(["doctor"]).env("SPORE_CONFIG", &file);
    run.command().env_remove("SPORE_QEMU");
    run.finish().exits_with(1).says(&["QEMU"]);
}

#[test]
fn credentials_are_not_shown() {
    let folder = files::scratch("settings");
    let file = folder.path().join("config.toml");
    fs::write(&file, "debian_security_mirror = 'https://ann:hunter2@deb.example/s'\n").unwrap();
    let spore = Spore::new();
    for format in ["text", "json"] {
        let run = spore.command(["config", "--format", format]).env("SPORE_CONFIG", &file);
        let mut run = run.env("SPORE_DEBIAN_MIRROR", "http://ann:hunter2@deb.example/debian");
        run.command().env_remove("SPORE_DEBIAN_SECURITY_MIRROR");
        let shown = run.finish().succeeds();
        assert!(!shown.text().contains("hunter2"), "{shown}");
        for mirror in ["http://***@deb.example/debian", "https://***@deb.example/s"] {
            assert!(shown.text().contains(mirror), "{shown}");
        }
    }
}
