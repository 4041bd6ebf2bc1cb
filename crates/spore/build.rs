//! Builds what guests run for embedding: the agent, left at `$OUT_DIR/agent`, and the module by which the Node runner
//! reseeds OpenSSL, at `$OUT_DIR/reseed.node`.
//!
//! The agent runs in guests that hold nothing it could be linked with, so it is static; the C library is the
//! host's gnu one with `crt-static`, because that target needs nothing beyond an ordinary toolchain. It is the
//! release build in every profile, since a snapshot keeps it for ever and a debug agent would be five times the size.
//!
//! Invariants:
//! - The nested cargo has a target directory of its own: the outer cargo holds the lock on the outer one.
//! - Nothing that was meant for the outer build (flags, wrappers, profiles, target directory) reaches it.
//! - Equal sources and toolchain give equal bytes wherever the tree and the registry lie: the agent's initrd is
//!   part of snapshots, and no path of the machine that built it is to be in there.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the agent is made of, as seen from the workspace: whole crates, since a crate may include more than its
/// `src`, and the nested cargo finds out by itself when there is nothing to do.
const INPUTS: &[&str] =
    &["Cargo.toml", "Cargo.lock", "crates/agent", "crates/agent-protocol", "crates/archive"];

/// The release profile's changes for the agent: small, no unwinding tables, no symbols.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

fn main() -> Result<()> {
    let workspace = fs::canonicalize(Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../.."))?;
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target = target()?;
    build(&workspace, &out.join("agent-target"), &target)?;
    fs::copy(out.join("agent-target").join(&target).join("release/agent"), out.join("agent"))?;
    build_module(&workspace.join(MODULE), &out.join("reseed.node"))
}

/// The module's only source file.
const MODULE: &str = "crates/agent/runners/reseed.rs";

/// Builds a module that needs no library and no loader but the process that loads it. It is not cargo's to build: cargo
/// would link it with what every other part of the workspace has.
fn build_module(source: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new(variable("RUSTC")?);
    command.args(["--edition=2024", "--crate-type=cdylib", "--crate-name=reseed", "--target"]).arg(target()?);
    command.args([
        "-Copt-level=s",
        "-Cpanic=abort",
        "-Cstrip=symbols",
        "-Clink-args=-nostdlib -nostartfiles",
    ]);
    let status = command.arg("-o").arg(out).arg(source).status()?;
    if !status.success() {
        return Err(format!("building {} failed ({status}); see above", source.display()).into());
    }
    Ok(())
}

/// The triple the agent is built for: guests have the architecture that Spore itself is built for.
fn target() -> Result<String> {
    let target = variable("TARGET")?.into_string().map_err(|_| "TARGET is not UTF-8")?;
    if !target.ends_with("-linux-gnu") {
        return Err(format!("the agent is built for a Linux gnu target, not {target}").into());
    }
    Ok(target)
}

fn build(workspace: &Path, target_dir: &Path, target: &str) -> Result<()> {
    let mut command = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if !name.to_str().is_some_and(passes) {
            command.env_remove(name);
        }
    }
    // Naming the target keeps the flags below from build scripts and procedural macros, which cannot be static.
    command
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--package", "agent", "--target", target, "--target-dir"])
        .arg(target_dir)
        .envs(PROFILE.iter().copied())
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(workspace)?);
    let status = command.status()?;
    if !status.success() {
        return Err(format!("building the agent failed ({status}); see cargo's output above").into());
    }
    Ok(())
}

/// Whether an environment variable may reach the nested cargo: all but what steers a build. Of cargo's own, only
/// where its home is, how it reaches the network, and the job server by which it shares the outer build's CPUs.
fn passes(name: &str) -> bool {
    const CARGO_PASSES: &[&str] =
        &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_MAKEFLAGS"];
    let steers = ["CARGO_", "RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    CARGO_PASSES.iter().any(|pass| name.starts_with(pass))
        || !steers.iter().any(|steer| name.starts_with(steer))
}

/// Static, and with names in place of the paths of this machine, in cargo's encoding.
fn rustflags(workspace: &Path) -> Result<OsString> {
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(variable("HOME")?).join(".cargo"),
    };
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (path, name) in [(cargo_home.as_path(), "cargo"), (workspace, "spore")] {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(path);
        flags.push("=/");
        flags.push(name);
    }
    Ok(flags)
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set: cargo runs this program").into())
}
