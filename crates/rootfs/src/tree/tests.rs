//! Trees of archives, and of several on top of one another.

use super::*;
use crate::Silent;

/// What a tar holds: paths that end with a slash are folders, `a -> b` is a symbolic link, `a = b` a hard link.
fn tar(lines: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for line in lines {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if line.ends_with('/') { 0o700 } else { 0o600 });
        header.set_uid(7);
        header.set_gid(7);
        header.set_mtime(7);
        header.set_size(0);
        if let Some((path, target)) = line.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, path, target).unwrap();
        } else if let Some((path, target)) = line.split_once(" = ") {
            header.set_entry_type(tar::EntryType::Link);
            builder.append_link(&mut header, path, target).unwrap();
        } else if line.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, line, &[][..]).unwrap();
        } else {
            header.set_size(line.len() as u64);
            builder.append_data(&mut header, line, line.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn layer(lines: &[&str]) -> Result<Folder, ArchiveError> {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path()).unwrap();
    let bytes = tar(lines);
    read(&mut Archive::new(&*bytes), &mut spool, &mut Allowance::of_an_image(), &Silent)
}

/// All names, folders with a slash and their permissions; `!` before what is hidden, `*` behind what hides.
fn list(folder: &Folder) -> Vec<String> {
    fn walk(folder: &Folder, path: &str, names: &mut Vec<String>) {
        for name in folder.hidden.iter().filter(|name| !folder.entries.contains_key(*name)) {
            names.push(format!("!{path}{}", name.escape_ascii()));
        }
        for (name, node) in &folder.entries {
            let path = format!("{path}{}", name.escape_ascii());
            match node {
                Node::Folder(inner) => {
                    let mark = if folder.hides_below(name, inner) { "*" } else { "" };
                    names.push(format!("{path}/{mark} {:o}", inner.attributes.mode));
                    walk(inner, &format!("{path}/"), names);
                }
                Node::Other(_) => names.push(path),
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names);
    names
}

/// Layers on top of one another, each settled on what is below.
fn stack(layers: &[&[&str]]) -> Folder {
    let mut below = Folder::new();
    for lines in layers {
        let mut layer = layer(lines).unwrap();
        settle(&mut layer, &below).unwrap();
        below.cover(layer);
    }
    below
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    let lower: &[&str] = &["etc/", "etc/a", "etc/b", "var/", "var/log/", "var/log/x", "opt/", "opt/old"];
    // What a whiteout names is there anew in its own layer, before and after it.
    let upper: &[&str] = &[
        "etc/.wh.a",
        "var/log/new",
        "var/.wh.log",
        "opt/.wh..wh..opq",
        "opt/new",
        ".wh..wh.plnk",
        "etc/.wh.b",
        "etc/b",
    ];
    assert_eq!(
        list(&layer(upper).unwrap()),
        ["etc/ 755", "!etc/a", "etc/b", "opt/* 755", "opt/new", "var/ 755", "var/log/* 755", "var/log/new",]
            .map(str::to_owned)
    );
    let merged = ["etc/ 700", "etc/b", "opt/ 700", "opt/new", "var/ 700", "var/log/ 755", "var/log/new"];
    assert_eq!(list(&stack(&[lower, upper])), merged);
}

#[test]
fn an_opaque_root_hides_by_name() {
    let below = stack(&[&["a/", "a/x", "b"]]);
    let mut upper = layer(&[".wh..wh..opq", "a/", "a/y", "c"]).unwrap();
    settle(&mut upper, &below).unwrap();
    assert_eq!(list(&upper), ["!b", "a/* 700", "a/y", "c"]);
    assert!(!upper.is_opaque);
}

#[test]
fn folders_without_an_entry_look_as_below() {
    assert_eq!(list(&stack(&[&["a/", "a/b/"], &["a/b/c"]])), ["a/ 700", "a/b/ 700", "a/b/c"]);
    // Its own entry may come after what is in it.
    assert_eq!(list(&stack(&[&["a/b", "a/"]])), ["a/ 700", "a/b"]);
    let mut below = stack(&[&["usr/bin/", "bin -> usr/bin", "file"]]);
    for (path, says) in
        [("bin/tool", "symbolic link in a layer below"), ("file/x", "no folder in a layer below")]
    {
        let mut upper = layer(&[path]).unwrap();
        let said = settle(&mut upper, &below).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
    // Said to be a folder, or hidden first, it may replace the link.
    for lines in [&["bin/", "bin/tool"], &[".wh.bin", "bin/tool"]] {
        let mut upper = layer(lines).unwrap();
        settle(&mut upper, &below).unwrap();
    }
    let mut upper = layer(&["bin/", "bin/tool"]).unwrap();
    settle(&mut upper, &below).unwrap();
    below.cover(upper);
    assert_eq!(list(&below), ["bin/ 700", "bin/tool", "file", "usr/ 755", "usr/bin/ 700"]);
}

#[test]
fn names_of_one_file_share_it() {
    let root = layer(&["a", "d/", "d/b = a", "c = d/b"]).unwrap();
    let path = |path: &str| Rc::as_ptr(root.other(&EntryPath::parse(path.as_bytes()).unwrap()).unwrap());
    assert_eq!(path("a"), path("d/b"));
    assert_eq!(path("a"), path("c"));
}

#[test]
fn nothing_leads_through_a_link() {
    for (lines, says) in [
        (&["etc -> /etc", "etc/passwd"][..], "leads through a symbolic link"),
        (&["a -> b", "a/c/d"], "leads through a symbolic link"),
        (&["a -> b", "a/.wh.x"], "leads through a symbolic link"),
        (&["a", "a/b"], "no folder"),
        (&["x = a"], "hard link to nothing"),
        (&["x = x"], "hard link to nothing"),
        (&["l -> /etc", "x = l/passwd"], "hard link to nothing"),
        (&["d/", "x = d"], "hard link to nothing"),
        (&[".wh.d/x"], "below a whiteout"),
        (&[".wh."], "whiteout of no name"),
        (&["d/.wh..."], "whiteout of no name"),
    ] {
        let said = layer(lines).unwrap_err().to_string();
        assert!(said.contains(says), "{lines:?}: {said}");
    }
    // A later entry replaces an earlier one.
    assert_eq!(list(&layer(&["a -> b", "a/"]).unwrap()), ["a/ 700"]);
    assert_eq!(list(&layer(&["a/b", "a"]).unwrap()), ["a"]);
}

#[test]
fn what_an_image_holds_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let read = |mut allowance: Allowance| {
        let mut spool = Spool::new(folder.path()).unwrap();
        let bytes = tar(&["a/b", "a/c"]);
        read(&mut Archive::new(&*bytes), &mut spool, &mut allowance, &Silent).map(drop)
    };
    let plenty = || Allowance::of_an_image();
    read(Allowance { entries: 3, text: 3, content: 6 }).unwrap();
    for (allowance, says) in [
        (Allowance { entries: 2, ..plenty() }, "files and folders"),
        (Allowance { text: 2, ..plenty() }, "bytes of names"),
        (Allowance { content: 5, ..plenty() }, "bytes in its files"),
    ] {
        let said = read(allowance).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}
