"""unpack with flat files laid out, against zstd -d of the same frames by two processes

The peer decodes the snapshot's frames, which are ordinary zstd frames, into two files: half of the plain bytes in each of two
processes, which run at the same time. Both sides end with plain bytes that are synced, and both read from the page cache. `spore unpack` reads
them out of the pack, stores and syncs the blobs besides, verifies every digest and the content of each layer, gives memory the pages
that it shares with layers, and puts every page where it belongs.
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
    ours, peers = [], []
    for _ in range(2 if world.quick else 11):
        out, unpacked = world.scratch("out"), world.scratch_root("unpacked")
        world.have_memory()
        peers.append(shell(decode(halves, out)))
        if sum(file.stat().st_size for file in out.iterdir()) != plain:
            raise RuntimeError("the peer has not decoded all")
        shutil.rmtree(out)
        world.have_memory()
        ours.append(unpacked.run("unpack", pack))
        shutil.rmtree(unpacked.root)
    rows = []
    for what, ended in (("peer", peers), ("unpack", ours)):
        rows.append([what, *(report.seconds([getattr(one, kind) for one in ended]) for kind in ("wall", "cpu"))])
    print(f"  {report.mebibytes(sum(size for _, size in blobs))} in {len(blobs)} blobs become {report.mebibytes(plain)}")
    section.table(["what", "wall", "CPU"], rows)
    ratio = report.ratio([one.wall for one in ours], [one.wall for one in peers])
    section.record(unpack=[one.costs() for one in ours], peer=[one.costs() for one in peers], ratio=ratio)
    section.criterion("unpack to zstd -d by two processes, both synced", ratio["median"], LIMIT)


def decode(parts, folder):
    """What decodes each part in a process of its own, and syncs."""
    started = " ".join(f"zstd -dcq -T0 {part} > {folder}/{n} & p{n}=$!;" for n, part in enumerate(parts))
    return f"{started} wait $p0; wait $p1; sync {folder}/0 {folder}/1"
