//! What a recipe's values must be to each other, to their ranges and to the folder.

use std::path::Path;

use format::Digest;
use format::limits::LAYERS;

use super::values::{Component, Size, Suite};
use super::{
    Base, Build, DebianBase, FileEntry, ImageReference, Machine, OnFork, Ready, Recipe, RecipePath, Warm,
    WarmStart, raw,
};

/// The suite of the kernel for a base that is no Debian.
const DEFAULT_KERNEL_SUITE: &str = "bookworm";
/// Bounds of the machine, in bytes.
const MEMORY: (Size, Size) = (Size::mib(64), Size::mib(1 << 20));
const MEMORY_STEP: Size = Size::mib(2);
/// A map has less than 2^32 pages, which are 16 TiB: the largest disk is a round size below.
const DISK: (Size, Size) = (Size::mib(32), Size::mib(15 << 20));
const DISK_STEP: Size = Size::mib(1);
/// Arguments and variables are handed to `execve`, which takes no more than this in one string.
const MAX_STRING: usize = 128 << 10;

/// What is wrong with the value of a key.
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) problem: String,
}

type Checked<T> = Result<T, Problem>;

fn problem<T>(key: impl Into<String>, problem: impl Into<String>) -> Checked<T> {
    Err(Problem { key: key.into(), problem: problem.into() })
}

pub(super) fn recipe(raw: raw::Recipe, digest: Digest, folder: &Path) -> Checked<Recipe> {
    let base = base(raw.base, folder)?;
    let files: Vec<_> = raw
        .files
        .into_iter()
        .enumerate()
        .map(|(index, entry)| file(index, entry, folder))
        .collect::<Checked<_>>()?;
    layer_count(&base, &files)?;
    let is_image = matches!(base, Base::Image(_));
    for (name, value) in &raw.environment {
        string(&format!("environment.{name}"), value)?;
    }
    Ok(Recipe {
        digest,
        name: raw.name,
        version: raw.version,
        description: raw.description,
        licenses: raw.licenses,
        kernel: kernel(raw.kernel.debian, &base)?,
        base,
        files,
        build: build(raw.build)?,
        machine: machine(&raw.machine)?,
        environment: raw.environment,
        warm: raw.warm.map(|warm| self::warm(warm, folder, is_image)).transpose()?,
        on_fork: raw.on_fork.map(on_fork).transpose()?,
    })
}

/// What a base can be made of: its key in a recipe.
const BASES: &str = "debian, directories, image and tar";

fn base(raw: raw::Base, folder: &Path) -> Checked<Base> {
    let debian_only = [
        ("variant", raw.variant.is_some()),
        ("packages", raw.packages.is_some()),
        ("components", raw.components.is_some()),
        ("mirror", raw.mirror.is_some()),
        ("security_mirror", raw.security_mirror.is_some()),
    ];
    let alien = debian_only.into_iter().find(|(_, given)| *given && raw.debian.is_none());
    let base = match (raw.debian, raw.directories, raw.image, raw.tar) {
        (Some(suite), None, None, None) => {
            let default_components =
                || ["main"].into_iter().filter_map(|name| name.parse::<Component>().ok()).collect();
            debian(DebianBase {
                suite,
                variant: raw.variant.unwrap_or_default(),
                packages: raw.packages.unwrap_or_default(),
                components: raw.components.unwrap_or_else(default_components),
                mirror: raw.mirror,
                security_mirror: raw.security_mirror,
            })
        }
        (None, Some(directories), None, None) => self::directories(directories, folder),
        (None, None, Some(image), None) => {
            ImageReference::find(folder, &image).map(Base::Image).or_else(|text| problem("base.image", text))
        }
        (None, None, None, Some(tar)) => self::tar(&tar, folder),
        (None, None, None, None) => {
            problem("base", format!("expected exactly one of {BASES}, it has none of them"))
        }
        _ => problem("base", format!("expected exactly one of {BASES}, it has several of them")),
    }?;
    match alien {
        Some((key, _)) => {
            problem(format!("base.{key}"), "only goes with base.debian, which this base is not")
        }
        None => Ok(base),
    }
}

fn debian(base: DebianBase) -> Checked<Base> {
    if base.suite.is_backports() {
        return problem("base.debian", format!("expected the suite that {} is made for", base.suite));
    }
    if base.components.is_empty() {
        return problem("base.components", "expected at least one component, such as \"main\"");
    }
    if base.variant == super::Variant::Extract && base.packages.is_empty() {
        return problem("base.packages", "variant \"extract\" needs at least one package");
    }
    Ok(Base::Debian(base))
}

fn tar(relative: &str, folder: &Path) -> Checked<Base> {
    let found = RecipePath::find(folder, relative).or_else(|text| problem("base.tar", text))?;
    if found.absolute().is_file() {
        Ok(Base::Tar(found))
    } else {
        problem("base.tar", format!("{relative:?} is not a file"))
    }
}

fn directories(directories: Vec<String>, folder: &Path) -> Checked<Base> {
    if directories.is_empty() {
        return problem("base.directories", "expected at least one folder");
    }
    let find = |(index, relative): (usize, String)| {
        let key = format!("base.directories[{index}]");
        let found = RecipePath::find(folder, &relative).or_else(|text| problem(key.clone(), text))?;
        if found.absolute().is_dir() {
            Ok(found)
        } else {
            problem(key, format!("{relative:?} is not a folder"))
        }
    };
    directories.into_iter().enumerate().map(find).collect::<Checked<_>>().map(Base::Directories)
}

fn layer_count(base: &Base, files: &[FileEntry]) -> Checked<()> {
    let lower = match base {
        Base::Directories(directories) => directories.len(),
        // An image with more layers than there may be is made to have fewer.
        Base::Debian(_) | Base::Tar(_) | Base::Image(_) => 1,
    };
    let count = lower + usize::from(!files.is_empty());
    if count > LAYERS {
        let files = if files.is_empty() { "" } else { ", the one of the added files included" };
        return problem("base", format!("makes {count} layers{files}: at most {LAYERS} are allowed"));
    }
    Ok(())
}

fn kernel(suite: Option<Suite>, base: &Base) -> Checked<Suite> {
    match (suite, base) {
        (Some(suite), _) => Ok(suite),
        (None, Base::Debian(base)) => Ok(base.suite.clone()),
        (None, Base::Directories(_) | Base::Image(_) | Base::Tar(_)) => {
            DEFAULT_KERNEL_SUITE.parse().or_else(|text: String| problem("kernel.debian", text))
        }
    }
}

fn file(index: usize, raw: raw::FileEntry, folder: &Path) -> Checked<FileEntry> {
    let key = |name: &str| format!("files[{index}].{name}");
    let source = RecipePath::find(folder, &raw.source).or_else(|text| problem(key("source"), text))?;
    if source.absolute().is_dir() && raw.mode.is_some() {
        return problem(key("mode"), format!("{:?} is a folder: expected a file, or no mode", raw.source));
    }
    if source.absolute().is_file() && raw.destination.as_str() == "/" {
        return problem(key("destination"), "is the root folder: expected the file's full path in the guest");
    }
    Ok(FileEntry { source, destination: raw.destination, mode: raw.mode, owner: raw.owner })
}

fn build(raw: raw::Build) -> Checked<Build> {
    for (index, line) in raw.commands.iter().enumerate() {
        string(&format!("build.commands[{index}]"), line)?;
    }
    Ok(Build { commands: raw.commands, network: raw.network, timeout: raw.timeout })
}

fn machine(raw: &raw::Machine) -> Checked<Machine> {
    if !(1..=64).contains(&raw.vcpus) {
        return problem("machine.vcpus", format!("is {}: expected 1 to 64", raw.vcpus));
    }
    bounds("machine.memory", raw.memory, MEMORY, MEMORY_STEP)?;
    bounds("machine.disk", raw.disk, DISK, DISK_STEP)?;
    Ok(Machine { vcpus: raw.vcpus, memory: raw.memory, disk: raw.disk, init_on_free: raw.init_on_free })
}

fn bounds(key: &str, size: Size, (least, most): (Size, Size), step: Size) -> Checked<()> {
    if size < least || size > most || !size.bytes().is_multiple_of(step.bytes()) {
        return problem(key, format!("is {size}: expected {least} to {most}, a multiple of {step}"));
    }
    Ok(())
}

fn warm(raw: raw::Warm, folder: &Path, is_image: bool) -> Checked<Warm> {
    let start = match (raw.command, raw.runner, raw.script) {
        (Some(command), None, None) => WarmStart::Command(arguments("warm.command", command)?),
        (None, Some(runner), Some(script)) => {
            let script = RecipePath::find(folder, &script).or_else(|text| problem("warm.script", text))?;
            if !script.absolute().is_file() {
                return problem("warm.script", format!("{:?} is not a file", script.relative()));
            }
            WarmStart::Runner { runner, script }
        }
        (None, None, None) if is_image => WarmStart::Image,
        _ => return problem("warm", "expected either command, or runner and script"),
    };
    let is_user = |user: &String| {
        !user.is_empty() && user.len() <= 255 && !user.contains(|c: char| c.is_whitespace() || c == ':')
    };
    if let Some(user) = raw.user.as_ref().filter(|user| !is_user(user)) {
        return problem("warm.user", format!("{user:?} is not a user's name or number"));
    }
    let deadline = raw.ready.deadline;
    let ready = ready(raw.ready, &start)?;
    Ok(Warm { start, user: raw.user, cwd: raw.cwd, ready, deadline })
}

fn ready(raw: raw::Ready, start: &WarmStart) -> Checked<Ready> {
    let has_runner = matches!(start, WarmStart::Runner { .. });
    match (raw.runner.unwrap_or(false), raw.command, raw.file) {
        (false, Some(command), None) => Ok(Ready::Command(arguments("warm.ready.command", command)?)),
        (false, None, Some(file)) => Ok(Ready::File(file)),
        (true, None, None) if !has_runner => problem("warm.ready.runner", "only goes with warm.runner"),
        (false, None, None) if !has_runner => problem(
            "warm.ready",
            "expected command or file: without a runner nothing else tells when it is warm",
        ),
        (_, None, None) if raw.runner != Some(false) => Ok(Ready::Runner),
        _ => problem("warm.ready", "expected exactly one of runner = true, command and file"),
    }
}

fn on_fork(raw: raw::OnFork) -> Checked<OnFork> {
    Ok(OnFork { command: arguments("on_fork.command", raw.command)?, deadline: raw.deadline })
}

fn arguments(key: &str, arguments: Vec<String>) -> Checked<Vec<String>> {
    if arguments.first().is_none_or(String::is_empty) {
        return problem(key, "expected a list that starts with a program, such as [\"/bin/true\"]");
    }
    arguments.iter().try_for_each(|argument| string(key, argument))?;
    Ok(arguments)
}

fn string(key: &str, text: &str) -> Checked<()> {
    if text.contains('\0') || text.len() > MAX_STRING {
        return problem(key, format!("expected at most {MAX_STRING} bytes without NUL"));
    }
    Ok(())
}
