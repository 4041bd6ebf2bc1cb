//! Runs shell scripts as root of namespaces of their own.
//!
//! Root of the machine gets fresh mount and process namespaces; an ordinary user a user namespace too, where
//! it is user 0 and its range of subordinate ids are users 1 to 65535. In both cases what the script mounts
//! and starts ends with its first process, and that one ends when we do, however we end.

use std::ffi::OsStr;
use std::path::Path;

use crate::Error;
use crate::command::Run;
use crate::tools::Tool;

/// How many subordinate ids are needed, so that users 1 to 65535 exist, nobody (65534) among them.
const NEEDED_IDS: u64 = 65_536;

/// Put before every script: ends it when its standard input ends, which [`Run::tied_to_us`] holds.
const PREAMBLE: &str = "set -eu\numask 022\nexec 3<&0 </dev/null\n\
                        { cat <&3 >/dev/null; kill -KILL -1; } &\nexec 3<&-\n";

/// Whose files a script of an ordinary user can handle.
#[derive(Clone, Copy)]
enum Users {
    /// The user's own, whatever their permissions.
    Own,
    /// Those of its subordinate ids too.
    All,
}

/// A run of `script` by `sh -eu`, as root of namespaces of its own, with `arguments` as `$1` and so on.
pub(crate) fn script(
    act: &str,
    script: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Run, Error> {
    if !rustix::process::geteuid().is_root() {
        check_subordinate_ids()?;
    }
    script_for(Users::All, act, script, arguments)
}

fn script_for(
    users: Users,
    act: &str,
    script: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Run, Error> {
    let mut run = Run::new(Tool::Unshare, act)?;
    if !rustix::process::geteuid().is_root() {
        run = run.args(["--user", "--map-root-user"]);
        if matches!(users, Users::All) {
            run = run.arg("--map-auto");
        }
    }
    let run = run.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c"]);
    Ok(run.arg(format!("{PREAMBLE}{script}")).arg("sh").args(arguments).tied_to_us())
}

/// Removes a folder that may hold files of other users of the namespace.
pub(crate) fn remove_tree(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let users = if check_subordinate_ids().is_ok() { Users::All } else { Users::Own };
            script_for(users, "removing a temporary folder", "rm -rf -- \"$1\"", [folder])?.finish()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { act: "remove", path: folder.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

fn check_subordinate_ids() -> Result<(), Error> {
    Tool::Newuidmap.checked_path()?;
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user_name(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = std::fs::read_to_string(file).unwrap_or_default();
        if !has_range(&ranges, &user, uid) {
            return Err(Error::NoSubordinateIds { user, file });
        }
    }
    Ok(())
}

fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

fn has_range(ranges: &str, user: &str, uid: u32) -> bool {
    ranges.lines().any(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().unwrap_or_default();
        let count = fields.nth(1).and_then(|count| count.trim().parse::<u64>().ok());
        (owner == user || owner.parse() == Ok(uid)) && count.is_some_and(|count| count >= NEEDED_IDS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), Some("ann"));
        assert_eq!(user_name(passwd, 1001), None);
        assert!(has_range("ann:100000:65536\n", "ann", 1000));
        assert!(has_range("1000:100000:65536\n", "ann", 1000));
        assert!(!has_range("ann:100000:1000\n", "ann", 1000));
        assert!(!has_range("anna:100000:65536\n", "ann", 1000));
        assert!(!has_range("", "ann", 1000));
    }
}
