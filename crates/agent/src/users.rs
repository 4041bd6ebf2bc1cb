//! Users as the guest's `/etc/passwd` and `/etc/group` name them. A static program has no other way to know.

use rustix::process::{Gid, Uid};

/// What a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// All groups, the primary one first.
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: String,
}

/// Finds `spec`, `USER[:GROUP]` each by name or number, in the content of the two files. A UID without an entry needs none;
/// its group is then the one with its own number. Nor does a GID need one.
pub(crate) fn resolve(spec: &str, passwd: &str, group: &str) -> Option<Credentials> {
    let (user, explicit_gid) = match spec.split_once(':') {
        Some((user, named)) => (user, Some(named.parse::<u32>().ok().or_else(|| group_of(named, group))?)),
        None => (spec, None),
    };
    let number = user.parse::<u32>().ok();
    let entry = passwd
        .lines()
        .filter_map(Entry::parse)
        .find(|entry| entry.name == user || (number.is_some() && number == Some(entry.uid)));
    let (uid, gid, home) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (uid, uid, "/"),
        (None, None) => return None,
    };
    // The kernel takes the highest number for "leave as it is".
    let valid = |id: &u32| *id != u32::MAX;
    let gid = Some(explicit_gid.unwrap_or(gid)).filter(valid)?;
    let uid = Some(uid).filter(valid)?;
    let member = entry.map(|entry| entry.name).into_iter().flat_map(|name| groups_of(name, group));
    let mut groups = vec![Gid::from_raw(gid)];
    groups.extend(member.filter(|other| *other != gid && valid(other)).map(Gid::from_raw));
    Some(Credentials { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups, home: home.to_owned() })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Entry { name, uid, gid, home })
    }
}

/// The number of a group that is named.
fn group_of(name: &str, group: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = !name.is_empty() && fields.next()? == name;
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn groups_of<'a>(user: &'a str, group: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# no entry\nana:x:1000:100::/home/ana:/bin/sh\nbad:x:y\n42:x:7:7::/:";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nvideo:x:44:bo,ana\naudio:x:29:anastasia\nbroken\n";

    fn ids(spec: &str) -> Option<(u32, u32, Vec<u32>, String)> {
        let found = resolve(spec, PASSWD, GROUP)?;
        let groups = found.groups.iter().map(|gid| gid.as_raw()).collect();
        Some((found.uid.as_raw(), found.gid.as_raw(), groups, found.home))
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let ana = Some((1000, 100, vec![100, 44], "/home/ana".to_owned()));
        assert_eq!(ids("ana"), ana);
        assert_eq!(ids("1000"), ana);
        assert_eq!(ids("1000:29"), Some((1000, 29, vec![29, 44], "/home/ana".into())));
        assert_eq!(ids("4711"), Some((4711, 4711, vec![4711], "/".into())));
        assert_eq!(ids("ana:audio"), Some((1000, 29, vec![29, 44], "/home/ana".into())));
        assert_eq!(ids("4711:video"), Some((4711, 44, vec![44], "/".into())));
        assert_eq!(ids("4711:5"), Some((4711, 5, vec![5], "/".into())));
    }

    #[test]
    fn what_is_no_user_is_refused() {
        for spec in ["bo", "", "bad", "ana:bo", "ana:broken", "1000:", ":5", "4294967295", "4294967296", "-1"]
        {
            assert_eq!(ids(spec), None, "{spec}");
        }
    }
}
