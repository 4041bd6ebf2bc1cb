"""pack files: their size, and the time to make and to unpack one, against tar and zstd of the same plain bytes

The plain bytes are what the engine is given: memory, writable disk and layers, each as one flat file. That is what goes
into a pack that knows nothing of guests. `tar -S` leaves holes out, which makes the peer's file smaller and its time shorter;
what else is in our pack (kernel, initrd, engine state, maps, config) is in ours alone, and counts.

Both files are synced at the end, and so is what is unpacked. `spore unpack` also stores the pack's blobs, verifies all that
it reads, and lays it out; the peer's unpacking verifies nothing.
"""

import shutil

from lib import report
from lib.spore import shell
from lib.world import DEFAULTS

NAME = "pack"
TO_PLAIN, TO_DEFAULTS = 0.9, 0.8


def run(world, section):
    """Sizes once, since they are the same each time; times in turns."""
    default = world.bake_defaults()
    packs = world.scratch("packs")
    ours, peer, defaults = packs / "ours.spore", packs / "plain.tar.zst", packs / "defaults.tar.zst"
    world.spore.lay_out(DEFAULTS)
    shell(peer_packs(world.spore, default["digest"], defaults))
    world.spore.lay_out("bench")
    section.commands(
        **{
            "pack": "spore pack bench -o FILE",
            "pack, peer": peer_packs(world.spore, world.snapshot, "FILE").replace(str(world.spore.root), "ROOT"),
            "unpack": "spore unpack FILE, into an empty root",
            "unpack, peer": peer_unpacks("FILE", "FOLDER"),
        }
    )
    found = {"pack": [], "pack, peer": [], "unpack": [], "unpack, peer": []}
    for _ in range(2 if world.quick else 9):
        for what, ended in one_round(world, ours, peer).items():
            found[what].append(ended)
    times(section, found)
    sizes(section, {what: file.stat().st_size for what, file in (("ours", ours), ("plain", peer), ("defaults", defaults))})


def one_round(world, ours, peer):
    """Everything once."""
    found = {}
    for what, act in (
        ("pack, peer", lambda: shell(peer_packs(world.spore, world.snapshot, peer))),
        ("pack", lambda: world.spore.run("pack", "bench", "-o", ours, "--force")),
    ):
        world.have_memory()
        found[what] = act()
    out, unpacked = world.scratch("out"), world.scratch_root("unpacked")
    world.have_memory()
    found["unpack, peer"] = shell(peer_unpacks(peer, out))
    world.have_memory()
    found["unpack"] = unpacked.run("unpack", ours)
    for folder in (out, unpacked.root):
        shutil.rmtree(folder)
    return found


def peer_packs(spore, digest, file):
    """What makes one file of a snapshot's plain bytes."""
    flats = [spore.flat_memory(digest), spore.flat_writable(digest), *spore.flat_layers(digest)]
    names = " ".join(flat.name for flat in flats)
    return f"tar -C {spore.root / 'flat'} -cS {names} | zstd -3 -T0 -qfo {file} && sync {file}"


def peer_unpacks(file, folder):
    """What makes plain bytes of that file."""
    return f"zstd -dcq -T0 {file} | tar -C {folder} -xS && sync {folder}/*"


def times(section, found):
    """The table of times."""
    rows = []
    for what, ended in found.items():
        wall, cpu = ([getattr(one, kind) for one in ended] for kind in ("wall", "cpu"))
        peers = found.get(f"{what}, peer")
        ratio = report.times(report.ratio(wall, [one.wall for one in peers])) if peers else ""
        rows.append([what, report.seconds(wall), report.seconds(cpu), ratio])
    section.table(["what", "wall", "CPU", "wall to the peer's"], rows)
    section.record(times={what: [one.costs() for one in ended] for what, ended in found.items()})


def sizes(section, found):
    """The table of sizes, and what they have to be."""
    meaning = {
        "ours": "spore pack",
        "plain": "tar -S | zstd -3 of the same plain bytes",
        "defaults": "tar -S | zstd -3 of the guest baked with Debian's defaults",
    }
    rows = []
    for what, size in found.items():
        rows.append([meaning[what], report.mebibytes(size), f"{found['ours'] / size:.3f}"])
    section.table(["file", "size", "ours to it"], rows)
    section.record(sizes=found)
    section.criterion(f"pack to {meaning['plain']}", found["ours"] / found["plain"], TO_PLAIN)
    section.criterion(f"pack to {meaning['defaults']}", found["ours"] / found["defaults"], TO_DEFAULTS)
