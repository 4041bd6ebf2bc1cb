"""size of the memory part, against zstd -3 of the plain memory

Three sizes: what `zstd -3` makes of the memory of the same guest baked with Debian's defaults
(`init_on_free = false`), what it makes of the memory as the recipe bakes it, and our frames, which also leave out
pages that equal a layer's. The first is what snapshotting tools that know nothing of the guest would ship.
"""

import subprocess

from lib import report
from lib.world import DEFAULTS

NAME = "size"
LIMIT = 0.45


def run(world, section):
    """Bakes the other guest too, and compares."""
    ours = world.bake("bench", world.recipe)
    plain = world.bake_defaults()
    sizes = {
        "zstd -3 of memory baked with Debian's defaults": compressed(world, DEFAULTS, plain["digest"]),
        "zstd -3 of memory as the recipe bakes it": compressed(world, "bench", ours["digest"]),
        "frames of the memory, ours": ours["parts"]["memory"],
        "frames of the memory baked with the defaults": plain["parts"]["memory"],
    }
    first = next(iter(sizes.values()))
    section.table(
        ["what", "size", "to the first"],
        [[what, report.mebibytes(size), f"{size / first:.2f}"] for what, size in sizes.items()],
    )
    section.record(sizes=sizes, parts={"ours": ours["parts"], "defaults": plain["parts"]})
    section.criterion("frames to zstd -3 of the default guest's memory", ours["parts"]["memory"] / first, LIMIT)


def compressed(world, name, digest):
    """Bytes that zstd -3 makes of a snapshot's plain memory, laid out by a fork."""
    world.spore.lay_out(name)
    with subprocess.Popen(["zstd", "-3", "-qc", world.spore.flat_memory(digest)], stdout=subprocess.PIPE) as process:
        total = 0
        while part := process.stdout.read(1 << 20):
            total += len(part)
    if process.returncode != 0:
        raise RuntimeError(f"zstd ended with {process.returncode}")
    return total
