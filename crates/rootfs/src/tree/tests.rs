//! Trees of archives, and of several on top of one another.

use tar_stream::Stream;

use super::*;
use crate::Silent;
use crate::archive::{Archive, EntryPath, Role};

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

fn plenty() -> Allowance {
    Allowance::new(MAX_SIZE)
}

fn layer(lines: &[&str]) -> Result<Folder, LayerError> {
    layer_on(lines, &Folder::new(), &mut plenty())
}

fn layer_on(lines: &[&str], below: &Folder, allowance: &mut Allowance) -> Result<Folder, LayerError> {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path()).unwrap();
    let bytes = tar(lines);
    let mut layer = Reading { below, spool: &mut spool, allowance, progress: &Silent }
        .read(&mut Archive::new(Stream(&*bytes), Role::File))?;
    settle(&mut layer, below, allowance)?;
    Ok(layer)
}

fn path(path: &str) -> Vec<EntryName> {
    EntryPath::parse(path.as_bytes(), Role::File).unwrap().names().to_vec()
}

fn other<'f>(root: &'f Folder, name: &str) -> Option<&'f Rc<Other>> {
    let mut names = path(name);
    let name = names.pop().unwrap();
    root.other(&names, &name)
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
        let layer = layer_on(lines, &below, &mut plenty()).unwrap();
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
    let upper = layer_on(&[".wh..wh..opq", "a/", "a/y", "c"], &below, &mut plenty()).unwrap();
    assert_eq!(list(&upper), ["!b", "a/* 700", "a/y", "c"]);
    assert!(!upper.is_opaque);
}

#[test]
fn folders_without_an_entry_look_as_below() {
    assert_eq!(list(&stack(&[&["a/", "a/b/"], &["a/b/c"]])), ["a/ 700", "a/b/ 700", "a/b/c"]);
    // Its own entry may come after what is in it.
    assert_eq!(list(&stack(&[&["a/b", "a/"]])), ["a/ 700", "a/b"]);
    let mut below = stack(&[&["usr/bin/", "bin -> usr/bin", "file"]]);
    let said = layer_on(&["file/x"], &below, &mut plenty()).unwrap_err().to_string();
    assert!(said.contains("/file is a folder without an entry, and no folder in a layer below"), "{said}");
    // Said to be a folder, or hidden first, it may replace the link.
    for (lines, found) in [
        (&["bin/", "bin/tool"][..], &["bin/ 700", "bin/tool"][..]),
        (&["bin/tool", "bin/"], &["bin/ 700", "bin/tool"]),
        (&[".wh.bin", "bin/tool"], &["bin/* 755", "bin/tool"]),
    ] {
        assert_eq!(list(&layer_on(lines, &below, &mut plenty()).unwrap()), found);
    }
    below.cover(layer_on(&["bin/", "bin/tool"], &below, &mut plenty()).unwrap());
    assert_eq!(list(&below), ["bin/ 700", "bin/tool", "file", "usr/ 755", "usr/bin/ 700"]);
}

#[test]
fn what_is_mentioned_below_a_link_lands_behind_it() {
    let below = stack(&[&[
        "usr/bin/",
        "usr/bin/old",
        "bin -> usr/bin",
        "sbin -> /bin",
        "out -> ../../../usr/../etc",
        "usr/bin/more -> ../../opt/./more/",
        "loop -> loop",
        "file",
        "bad -> file",
    ]]);
    for (lines, found) in [
        (&["bin/tool"][..], &["usr/ 755", "usr/bin/ 700", "usr/bin/tool"][..]),
        // Through a second link, a whiteout too; what the folder has by its own path stays.
        (
            &["sbin/.wh.old", "sbin/tool", "usr/bin/tool"],
            &["usr/ 755", "usr/bin/ 700", "!usr/bin/old", "usr/bin/tool"],
        ),
        (&["bin/.wh..wh..opq", "bin/new"], &["usr/ 755", "usr/bin/* 700", "usr/bin/new"]),
        // Never out of the tree, and to what is not there yet.
        (&["out/passwd"], &["etc/ 755", "etc/passwd"]),
        (&["bin/more/x"], &["opt/ 755", "opt/more/ 755", "opt/more/x", "usr/ 755", "usr/bin/ 700"]),
    ] {
        assert_eq!(list(&layer_on(lines, &below, &mut plenty()).unwrap()), found, "{lines:?}");
    }
    for (line, says) in [
        ("loop/x", "/loop leads through more than 40 symbolic links"),
        ("bad/x", "/bad leads through something that is no folder in a layer below"),
    ] {
        let said = layer_on(&[line], &below, &mut plenty()).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
    // Each name of a long target is looked at.
    let long = format!("far -> {}", "../".repeat(1200));
    let below = stack(&[&[long.as_str()]]);
    let said = layer_on(&["far/x"], &below, &mut plenty()).unwrap_err().to_string();
    assert!(said.contains("leads too far"), "{said}");
}

#[test]
fn hard_links_lead_to_layers_below() {
    let below = stack(&[&["usr/bin/", "usr/bin/tool", "bin -> usr/bin"], &["other"]]);
    let upper = layer_on(&["a = usr/bin/tool", "b = bin/tool", "c = other"], &below, &mut plenty()).unwrap();
    let there = other(&below, "usr/bin/tool").unwrap();
    assert!(Rc::ptr_eq(other(&upper, "a").unwrap(), there) && Rc::ptr_eq(other(&upper, "b").unwrap(), there));
    let said = layer_on(&["d = usr/bin"], &below, &mut plenty()).unwrap_err().to_string();
    assert!(said.contains("hard link to nothing"), "{said}");
    // Its bytes are written once more.
    let size = "usr/bin/tool".len() as u64;
    layer_on(&["a = usr/bin/tool"], &below, &mut Allowance::new(size)).unwrap();
    let said = layer_on(&["a = usr/bin/tool"], &below, &mut Allowance::new(size - 1)).unwrap_err();
    assert!(said.to_string().contains("more than is left to unpack"), "{said}");
}

#[test]
fn what_aufs_keeps_for_itself_is_no_part_of_an_image() {
    let lines = [
        ".wh..wh.aufs",
        ".wh..wh.plnk/",
        ".wh..wh.plnk/1234.5678",
        "var/.wh..wh.orph/",
        "var/.wh..wh.orph/a/b",
        "var/log",
        // A link is not part of it because it leads there.
        ".wh..wh.plnk/1.2 = var/log",
    ];
    assert_eq!(list(&layer(&lines).unwrap()), ["var/ 755", "var/log"]);
    let said = layer(&[".wh..wh.plnk/1234.5678", "a = .wh..wh.plnk/1234.5678"]).unwrap_err().to_string();
    assert!(said.contains("/a is a hard link into what AUFS keeps for itself"), "{said}");
}

#[test]
fn holes_are_holes_in_the_spool() {
    const SIZE: u64 = 3 << 30;
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path()).unwrap();
    let mut bytes = Vec::new();
    for (path, parts) in
        [("a", vec![(1 << 30, 5), (SIZE, 0)]), ("b", vec![(0, 3), (SIZE - 4, 4)]), ("c", vec![(SIZE, 0)])]
    {
        let map: String = parts.iter().map(|(offset, length)| format!("{offset}\n{length}\n")).collect();
        let mut content = format!("{}\n{map}", parts.len()).into_bytes();
        content.resize(512, 0);
        content.extend(parts.iter().flat_map(|(_, length)| vec![b'x'; *length]));
        let mut records = Vec::new();
        let size = SIZE.to_string();
        for (key, value) in [("major", "1"), ("minor", "0"), ("name", path), ("realsize", &size)] {
            tar_stream::pax::push(&mut records, &format!("GNU.sparse.{key}"), value.as_bytes());
        }
        for (kind, content) in [(tar::EntryType::XHeader, records), (tar::EntryType::Regular, content)] {
            let mut header = tar::Header::new_ustar();
            header.set_path("GNUSparseFile.0/x").unwrap();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(&content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
    }
    bytes.extend([0; 1024]);
    let mut archive = Archive::new(Stream(&*bytes), Role::File);
    let mut allowance = Allowance::new(3 * SIZE);
    let below = Folder::new();
    let root = Reading { below: &below, spool: &mut spool, allowance: &mut allowance, progress: &Silent }
        .read(&mut archive)
        .unwrap();
    assert_eq!(allowance.content(), 0, "holes count as well");
    let content = |path: &str, at: u64| {
        let Content::File { place, size } = &other(&root, path).unwrap().content else { panic!() };
        assert_eq!(*size, SIZE);
        let mut bytes = [7; 8];
        spool.read_exact_at(place.get(), at, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(content("a", (1 << 30) - 1), *b"\0xxxxx\0\0");
    assert_eq!(content("b", 0), *b"xxx\0\0\0\0\0");
    assert_eq!(content("b", SIZE - 8), *b"\0\0\0\0xxxx");
    assert_eq!(content("c", SIZE - 8), [0; 8]);
    assert!(spool.disk_usage() < 1 << 20);
}

#[test]
fn names_of_one_file_share_it() {
    let root = layer(&["a", "d/", "d/b = a", "c = d/b"]).unwrap();
    let path = |path: &str| Rc::as_ptr(other(&root, path).unwrap());
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
    let read = |mut allowance: Allowance| layer_on(&["a/b", "a/c"], &Folder::new(), &mut allowance);
    let memory = read(plenty()).unwrap().memory();
    read(Allowance::with_memory(memory)).unwrap();
    let said = read(Allowance::with_memory(memory - 1)).unwrap_err().to_string();
    assert!(said.contains("bytes of names and attributes in memory"), "{said}");
    read(Allowance::new(6)).unwrap();
    let said = read(Allowance::new(5)).unwrap_err().to_string();
    assert!(said.contains("more than 5 bytes when it is unpacked: --max-size"), "{said}");
    // What an upper layer replaces is given back.
    let mut below = Folder::new();
    let mut allowance = plenty();
    for _ in 0..3 {
        below.cover(layer_on(&["a/b", "a/c"], &below, &mut allowance).unwrap());
        allowance.count_again(&below);
    }
    assert_eq!(below.memory(), memory);
}
