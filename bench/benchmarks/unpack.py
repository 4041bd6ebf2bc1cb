"""unpack with flat files laid out, against zstd -d of the same frames by two processes

The peer decodes the snapshot's frames, which are ordinary zstd frames, into two files: half of the plain bytes in each of two
processes, which run at the same time. Both sides end with plain bytes that are synced, and both read from the page cache. `spore unpack`
reads them out of the pack, stores and syncs the blobs besides, verifies every digest and the content of each layer, gives memory the
pages that it shares with layers, and puts every page where it belongs. Where the disk is what takes the time, storing the
blobs is a third more of it: shown besides is a peer that copies the pack, too.
"""

import shutil

from lib import frames, report
from lib.spore import shell

NAME = "unpack"
LIMIT = 1.1
PROCESSES = 2


def run(world, section):
    """Takes turns."""
    packs = world.scratch("packs")
    pack = packs / "bench.spore"
    world.spore.run("pack", "bench", "-o", pack)
    blobs = world.spore.frame_blobs(world.snapshot)
    halves, plain = frames.split([file for file, _ in blobs], PROCESSES, packs)
    section.commands(
        unpack="spore unpack FILE, into an empty root",
        peer=decode([half.name for half in halves], "FOLDER"),
    )
    found = {"unpack": [], "peer": [], "peer, and a copy": []}
    for _ in range(2 if world.quick else 11):
        for what in found:
            out, unpacked = world.scratch("out"), world.scratch_root("unpacked")
            world.have_memory()
            if what == "unpack":
                found[what].append(unpacked.run("unpack", pack))
            else:
                found[what].append(shell(decode(halves, out, None if what == "peer" else pack)))
            for folder in (out, unpacked.root):
                shutil.rmtree(folder)
    rows = []
    for what, ended in found.items():
        costs = [report.seconds([getattr(one, kind) for one in ended]) for kind in ("wall", "cpu")]
        rows.append([what, *costs, "" if what == "unpack" else report.times(to(found, what))])
    print(f"  {report.mebibytes(sum(size for _, size in blobs))} in {len(blobs)} blobs become {report.mebibytes(plain)}")
    section.table(["what", "wall", "CPU", "unpack to it"], rows)
    section.record(**{what: [one.costs() for one in ended] for what, ended in found.items()})
    section.criterion("unpack to zstd -d by two processes, both synced", to(found, "peer")["median"], LIMIT)


def to(found, peer):
    """Ratios of our wall time to a peer's."""
    return report.ratio([one.wall for one in found["unpack"]], [one.wall for one in found[peer]])


def decode(parts, folder, copied=None):
    """What decodes each part in a process of its own, and syncs; with `copied`, copies that file at the same time."""
    started = [f"zstd -dcq -T0 {part} > {folder}/{n} & p{n}=$!;" for n, part in enumerate(parts)]
    awaited = [f"wait $p{n};" for n in range(len(parts))]
    copy = f"cp {copied} {folder}/copy;" if copied else ""
    return " ".join([*started, copy, *awaited, f"sync {folder}/*"])
