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
        Tool::Newuidmap.checked_path()?;
        UserNamespaces::of_this_user().check()?;
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
            let can_map = UserNamespaces::of_this_user().check().is_ok();
            let users = if can_map { Users::All } else { Users::Own };
            script_for(users, "removing a temporary folder", "rm -rf -- \"$1\"", [folder])?.finish()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { act: "remove", path: folder.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

/// What an ordinary user needs, to make files of other users that exist in a guest.
#[derive(Debug)]
pub struct UserNamespaces {
    /// The user's name, or number where it has no name.
    pub user: String,
    /// How many ids it has beside its own, at most [`UserNamespaces::NEEDED_IDS`] of which are used: the lesser of users
    /// and groups.
    pub subordinate_ids: u64,
    /// Why it can't make a user namespace, if it can't.
    pub refused: Option<String>,
}

impl UserNamespaces {
    /// How many subordinate ids are needed, so that users 1 to 65535 exist, nobody (65534) among them.
    pub const NEEDED_IDS: u64 = 65_536;

    /// Finds out what this user has. It is tried: several switches of a kernel forbid it, and so does a chroot.
    #[must_use]
    pub fn of_this_user() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let user = user_name(&read("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string());
        let ids = |file| longest_range(&read(file), &user, uid);
        let subordinate_ids = ids("/etc/subuid").min(ids("/etc/subgid"));
        // Before anything that maps ranges of ids, which starts a helper first: were the namespace refused then,
        // unshare (util-linux 2.38) would end and its helper wait for ever, with our end of its messages open.
        let tried = Run::new(Tool::Unshare, "making a user namespace")
            .and_then(|run| run.args(["--user", "--map-root-user", "true"]).finish());
        let refused = tried.err().map(|error| error.to_string());
        Self { user, subordinate_ids, refused }
    }

    fn check(self) -> Result<(), Error> {
        let Self { user, subordinate_ids, refused } = self;
        if let Some(reason) = refused {
            return Err(Error::NoUserNamespaces { user, reason });
        }
        if subordinate_ids < Self::NEEDED_IDS {
            return Err(Error::NoSubordinateIds { user, found: subordinate_ids });
        }
        Ok(())
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn longest_range(ranges: &str, user: &str, uid: u32) -> u64 {
    let counts = ranges.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let count = fields.nth(1)?.trim().parse::<u64>().ok()?;
        (owner == user || owner.parse() == Ok(uid)).then_some(count)
    });
    counts.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 1001), None);
        for (ranges, longest) in [
            ("ann:100000:65536\n", 65_536),
            ("1000:100000:65536\n", 65_536),
            ("ann:100000:1000\nbob:1:70000\nann:300000:2000\n", 2000),
            ("anna:100000:65536\n", 0),
            ("ann:100000:many\nann\n", 0),
            ("", 0),
        ] {
            assert_eq!(longest_range(ranges, "ann", 1000), longest, "{ranges:?}");
        }
    }

    #[test]
    fn a_refused_namespace_is_named_before_missing_ids() {
        let user = |subordinate_ids, refused: Option<&str>| {
            let refused = refused.map(str::to_owned);
            UserNamespaces { user: "ann".into(), subordinate_ids, refused }.check()
        };
        user(65_536, None).unwrap();
        assert!(matches!(user(65_535, None), Err(Error::NoSubordinateIds { found: 65_535, .. })));
        let error = user(0, Some("unshare failed: Operation not permitted")).unwrap_err().to_string();
        assert!(error.contains("ann") && error.contains("Operation not permitted"), "{error}");
    }
}
