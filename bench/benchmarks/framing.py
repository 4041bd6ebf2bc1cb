"""framing of memory and writable disk at a bake, against zstd -3 of the same bytes; layers, framed once for a base, apart

Whole bakes are made, and their log (`SPORE_LOG=sandbox=info`) says how long each step took: finding out which pages are zero or a
layer's (`sort`), and compressing, hashing, storing and syncing the others (`frame`). There are two peers, after each bake:

- `of the frames`: zstd of exactly those bytes that were framed, to what framing them took;
- `of all`: zstd of memory and disk as they are, to what sorting and framing took together. A page that is a layer's
  has to be found and compared by us, and compressed by the peer.

Each peer is one process with as many threads as framing has, and syncs what it wrote. Pages were written just before: by the guest for
us, by the decoder for the peer. The first bake frames the layers anew, which a bake of a known base does not.
"""

import os
import statistics

from lib import frames, report
from lib.spore import shell

NAME = "framing"
LIMIT = 1.3
# As many as crates/store/src/frames.rs has.
THREADS = min(8, len(os.sched_getaffinity(0)))
FRAME = ("frame the memory", "frame the writable disk")
SORT = ("index the pages of the layers", "sort the pages of the memory", "sort the pages of the writable disk")
LAYERS = "frame a layer"
# The level of layers, in crates/format/src/zstd_frame.rs.
LEVEL = 9


def run(world, section):
    """One bake after another, and the peers after each."""
    section.commands(
        ours="SPORE_LOG=sandbox=info spore --log-format json bake recipes/python-numpy --name framing",
        peer=compress(["FILE…"], 3, "OUT"),
        **{"peer of layers": compress(["LAYER…"], LEVEL, "OUT")},
    )
    found = []
    for number in range(1 if world.quick else 5):
        found.append(one_round(world, forget_layers=number == 0))
    rows = []
    for what, meaning in MEANING.items():
        values = [one[what] for one in found if what in one]
        rows.append([meaning, report.milliseconds(values)])
    section.table(["what", "wall"], rows)
    print(f"  bytes framed: {report.mebibytes(found[-1]['bytes framed'])}, of {report.mebibytes(found[-1]['bytes of all'])}")
    section.record(rounds=found)
    framed = report.ratio([one["frame"] for one in found], [one["peer of the frames"] for one in found])
    both = report.ratio([one["sort"] + one["frame"] for one in found], [one["peer of all"] for one in found])
    section.criterion("framing, to zstd -3 of the bytes that are framed", framed["median"], LIMIT)
    section.criterion("sorting and framing, to zstd -3 of memory and disk", both["median"], LIMIT)


MEANING = {
    "frame": "ours: compress, hash, store, sync",
    "peer of the frames": "peer of the frames",
    "sort": "ours: sort pages",
    "peer of all": "peer of all",
    "layers": f"ours: layers, at level {LEVEL}, hashed, synced",
    "peer of layers": f"peer of layers, zstd -{LEVEL}",
}


def one_round(world, forget_layers):
    """A bake, and what the peers take for the same."""
    if forget_layers:
        for hint in (world.spore.root / "framings").iterdir():
            hint.unlink()
    baked, steps = world.spore.steps("bake", world.recipe, "--name", "framing")
    digest = baked["digest"]
    found = {"frame": sum(steps[step] for step in FRAME), "sort": sum(steps[step] for step in SORT)}
    world.spore.lay_out("framing")
    folder = world.scratch("plain")
    framed = folder / "framed"
    frames.plain([file for file, _ in world.spore.frame_blobs(digest, layers=False)], framed)
    all_of_it = [world.spore.flat_memory(digest), world.spore.flat_writable(digest)]
    found["bytes framed"] = framed.stat().st_size
    found["bytes of all"] = sum(file.stat().st_size for file in all_of_it)
    peers = {"peer of the frames": ([framed], 3), "peer of all": (all_of_it, 3)}
    if LAYERS in steps:
        found["layers"] = steps[LAYERS]
        peers["peer of layers"] = (world.spore.flat_layers(digest), LEVEL)
    for peer, (files, level) in peers.items():
        script = compress(files, level, folder / "out")
        found[peer] = statistics.median(shell(script).wall for _ in range(3))
    world.spore.run("rm", "framing")
    return found


def compress(files, level, out):
    """What compresses files, holes and all, to one file, and syncs."""
    return f"zstd -{level} -T{THREADS} -qc {' '.join(map(str, files))} > {out} && sync {out}"
