//! Random layers, and what they are together: applied one after another as the OCI image specification says, in the simplest way.

use std::collections::{BTreeMap, BTreeSet};

use tar::{Builder, EntryType, Header};

/// Where all of it is.
pub const TOP: &str = "t";
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// What a folder has that no layer describes.
const IMPLIED: Node =
    Node { kind: Kind::Folder, mode: 0o755, uid: 0, gid: 0, time: (1_672_531_200, 0), attribute: None };

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Folder,
    File(Vec<u8>),
    Symlink(String),
    Fifo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds.
    pub time: (u64, u32),
    /// The value of `user.mark`.
    pub attribute: Option<Vec<u8>>,
}

/// A tree, by paths that begin with [`TOP`].
pub type Tree = BTreeMap<String, Node>;

/// Numbers that are the same each time (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }
}

/// One layer that is being made: its archive, and what becomes of the tree below.
pub struct RandomLayer<'a> {
    random: &'a mut Random,
    archive: Builder<Vec<u8>>,
    below: &'a Tree,
    hidden: BTreeSet<String>,
    opaque: BTreeSet<String>,
    /// In the order of the archive.
    entries: Vec<(String, Node)>,
}

impl<'a> RandomLayer<'a> {
    /// Makes a layer for the top of `tree`, and puts it there.
    pub fn put(random: &'a mut Random, tree: &mut Tree) -> Vec<u8> {
        let below = tree.clone();
        let archive = Builder::new(Vec::new());
        let (hidden, opaque, entries) = Default::default();
        let mut layer = RandomLayer { random, archive, below: &below, hidden, opaque, entries };
        for _ in 0..20 {
            let path = layer.path();
            if layer.fits(&path) {
                layer.add(path);
            }
        }
        layer.apply(tree);
        layer.archive.into_inner().unwrap()
    }

    fn path(&mut self) -> String {
        // What is further up hides more: then little is left at the end.
        let depth = [1, 2, 2, 3, 3, 3, 4, 4][self.random.below(8)];
        (0..depth).fold(TOP.to_owned(), |path, _| format!("{path}/{}", NAMES[self.random.below(6)]))
    }

    /// Whether an entry may be there: only folders are on the way, and the layer says nothing of it yet.
    fn fits(&self, path: &str) -> bool {
        let is_new = |path: &str| {
            let said = self.entries.iter().any(|(other, _)| other == path || inside(other, path));
            !said && !self.hidden.contains(path) && !self.opaque.contains(path)
        };
        is_new(path)
            && ancestors(path).all(|folder| {
                let of_layer = self.entries.iter().rev().find(|(other, _)| other == folder);
                let found = of_layer.map(|(_, node)| node).or_else(|| self.below.get(folder));
                found.is_none_or(|node| node.kind == Kind::Folder) && !self.hidden.contains(folder)
            })
    }

    fn add(&mut self, path: String) {
        let is_there = self.below.get(&path);
        let is_folder = is_there.is_some_and(|node| node.kind == Kind::Folder);
        let (parent, name) = path.rsplit_once('/').unwrap();
        match self.random.below(10) {
            0 | 1 if is_there.is_some() => {
                self.marker(&format!("{parent}/.wh.{name}"));
                // What is there anew in the same layer is not hidden.
                if self.random.below(2) == 0 {
                    self.described(path.clone(), Kind::Folder);
                }
                self.hidden.insert(path);
            }
            2 if is_folder => {
                self.marker(&format!("{path}/.wh..wh..opq"));
                self.opaque.insert(path);
            }
            3 | 4 => self.described(path, Kind::Folder),
            5 => self.described(path, Kind::Symlink("nowhere/at all".to_owned())),
            6 => self.described(path, Kind::Fifo),
            7 => self.link(path),
            _ => {
                let lengths = [0, 1, 900, 1024, 1025, 4096, 5000, 70_000];
                let length = lengths[self.random.below(lengths.len())];
                let byte = u8::try_from(self.random.below(256)).unwrap();
                self.described(path, Kind::File(vec![byte; length]));
            }
        }
    }

    /// A hard link to a file of this layer, or of one below.
    fn link(&mut self, path: String) {
        let own: Vec<_> = self.entries.iter().map(|(path, node)| (path.clone(), node.clone())).collect();
        let lower = self.below.iter().filter(|(other, _)| !self.entries.iter().any(|(own, _)| own == *other));
        let lower =
            lower.filter(|(other, _)| *other != &path).map(|(path, node)| (path.clone(), node.clone()));
        let all = own.into_iter().chain(lower);
        let files: Vec<_> = all.filter(|(_, node)| matches!(node.kind, Kind::File(_))).collect();
        if files.is_empty() {
            return;
        }
        let (target, node) = files[self.random.below(files.len())].clone();
        let mut header = header(EntryType::Link, &node, 0);
        self.archive.append_link(&mut header, &path, &target).unwrap();
        self.entries.push((path, node));
    }

    fn marker(&mut self, path: &str) {
        self.archive.append_data(&mut header(EntryType::Regular, &IMPLIED, 0), path, &[][..]).unwrap();
    }

    fn described(&mut self, path: String, kind: Kind) {
        let modes = [0o755, 0o700, 0o1777, 0o2750, 0o640];
        let ids = [0, 1, 1000, 65_534, 100_000, 2_000_000];
        let attribute =
            (self.random.below(3) == 0).then(|| vec![7; [0, 5, 3000, 5000][self.random.below(4)]]);
        let may_have_one = !matches!(kind, Kind::Symlink(_) | Kind::Fifo);
        let node = Node {
            mode: if matches!(kind, Kind::Symlink(_)) { 0o777 } else { modes[self.random.below(5)] },
            uid: ids[self.random.below(6)],
            gid: ids[self.random.below(6)],
            time: (
                u64::try_from(self.random.below(2_000_000_000)).unwrap(),
                u32::try_from(self.random.below(1_000_000_000)).unwrap(),
            ),
            attribute: attribute.filter(|_| may_have_one),
            kind,
        };
        let time = format!("{}.{:09}", node.time.0, node.time.1);
        let mut records = vec![("mtime", time.into_bytes())];
        records.extend(node.attribute.clone().map(|value| ("SCHILY.xattr.user.mark", value)));
        self.archive.append_pax_extensions(records.iter().map(|(key, value)| (*key, &**value))).unwrap();
        let archive = &mut self.archive;
        match &node.kind {
            Kind::Folder => {
                archive.append_data(&mut header(EntryType::Directory, &node, 0), &path, &[][..]).unwrap();
            }
            Kind::File(content) => {
                let mut header = header(EntryType::Regular, &node, content.len());
                archive.append_data(&mut header, &path, &**content).unwrap();
            }
            Kind::Symlink(target) => {
                archive.append_link(&mut header(EntryType::Symlink, &node, 0), &path, target).unwrap();
            }
            Kind::Fifo => {
                archive.append_data(&mut header(EntryType::Fifo, &node, 0), &path, &[][..]).unwrap();
            }
        }
        self.entries.push((path, node));
    }

    fn apply(&self, tree: &mut Tree) {
        tree.retain(|path, _| {
            let is_hidden = self.hidden.iter().any(|hidden| path == hidden || inside(path, hidden));
            !is_hidden && !self.opaque.iter().any(|opaque| inside(path, opaque))
        });
        // Of a marker, too, the folder is there afterwards.
        let markers = self.hidden.iter().map(|path| (path, false));
        for (path, itself) in markers.chain(self.opaque.iter().map(|path| (path, true))) {
            imply(tree, path, itself);
        }
        for (path, node) in &self.entries {
            imply(tree, path, false);
            if node.kind != Kind::Folder {
                tree.retain(|other, _| !inside(other, path));
            }
            tree.insert(path.clone(), node.clone());
        }
    }
}

fn imply(tree: &mut Tree, path: &str, itself: bool) {
    for folder in ancestors(path).chain(itself.then_some(path)) {
        tree.entry(folder.to_owned()).or_insert(IMPLIED);
    }
}

fn inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// All folders on the way, [`TOP`] included.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn header(kind: EntryType, node: &Node, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(node.mode);
    header.set_uid(node.uid);
    header.set_gid(node.gid);
    header.set_mtime(node.time.0);
    header.set_size(size as u64);
    header
}
