"""pack files: their size, and the time to make and to unpack one, against tar and zstd of the same plain bytes

The plain bytes are those of all that the pack has: memory, writable disk and layers as flat files, the kernel, and initrd and engine
state, which are compressed in ours. `tar -S` leaves holes out, which makes the peer's file smaller and its time shorter; maps, indexes
and config are in ours alone, and count. Shown besides is a peer that has no more than memory and disks.

Both files are synced at the end, and so is what is unpacked. `spore unpack` also stores the pack's blobs, verifies all that
it reads, and lays it out; the peer's unpacking verifies nothing.
"""

import shutil
from pathlib import Path

from lib import report
from lib.spore import run as run_command
from lib.spore import shell
from lib.world import DEFAULTS

NAME = "pack"
TO_PLAIN, TO_DEFAULTS = 0.9, 0.8


def run(world, section):
    """Sizes once, since they are the same each time; times in turns."""
    default = world.bake_defaults()["digest"]
    packs = world.scratch("packs")
    files = {what: packs / what for what in ("ours", "peer", "disks", "defaults")}
    world.spore.lay_out(DEFAULTS)
    shell(peer_packs(plain(world.spore, default, packs / "default"), files["defaults"]))
    world.spore.lay_out("bench")
    everything = plain(world.spore, world.snapshot, packs / "plain")
    shell(peer_packs([file for file in everything if file.parent.name == "flat"], files["disks"]))
    section.commands(
        **{
            "pack": "spore pack bench -o FILE",
            "pack, peer": peer_packs([Path("MEMORY DISK LAYERS KERNEL INITRD STATE")], "FILE"),
            "unpack": "spore unpack FILE, into an empty root",
            "unpack, peer": peer_unpacks("FILE", "FOLDER"),
        }
    )
    found = {"pack": [], "pack, peer": [], "unpack": [], "unpack, peer": []}
    for _ in range(2 if world.quick else 9):
        for what, ended in one_round(world, everything, files["ours"], files["peer"]).items():
            found[what].append(ended)
    times(section, found)
    sizes(section, {what: file.stat().st_size for what, file in files.items()})


def one_round(world, everything, ours, peer):
    """Everything once."""
    found = {}
    for what, act in (
        ("pack, peer", lambda: shell(peer_packs(everything, peer))),
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


def plain(spore, digest, folder):
    """The plain bytes of a snapshot that is laid out; what only its blobs have is decoded to a folder."""
    folder.mkdir()
    config = spore.config(digest)
    kernel = config["machine"]["kernel"]
    for name, blob in (("initrd", kernel["initrd"]), ("state", config["engine"]["state"])):
        run_command(["zstd", "-dqo", folder / name, spore.blob(blob)])
    disks = [spore.flat_memory(digest), spore.flat_writable(digest), *spore.flat_layers(digest)]
    return [*disks, spore.blob(kernel["image"]), folder / "initrd", folder / "state"]


def peer_packs(files, pack):
    """What makes one file of plain bytes."""
    return f"tar -PcS {' '.join(map(str, files))} | zstd -3 -T0 -qfo {pack} && sync {pack}"


def peer_unpacks(file, folder):
    """What makes plain bytes of that file."""
    return f"zstd -dcq -T0 {file} | tar -C {folder} -xS --transform 's,.*/,,' && sync {folder}/*"


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
        "peer": "tar -S | zstd -3 of the same plain bytes",
        "disks": "tar -S | zstd -3 of memory and disks alone",
        "defaults": "tar -S | zstd -3 of the guest baked with Debian's defaults",
    }
    rows = []
    for what, size in found.items():
        rows.append([meaning[what], report.mebibytes(size), f"{found['ours'] / size:.3f}"])
    section.table(["file", "size", "ours to it"], rows)
    section.record(sizes=found)
    section.criterion(f"pack to {meaning['peer']}", found["ours"] / found["peer"], TO_PLAIN)
    section.criterion(f"pack to {meaning['defaults']}", found["ours"] / found["defaults"], TO_DEFAULTS)
