"""push and pull to a directory hub, against cp and sha256sum of the same bytes

`cp` is the least that moving takes: it is followed by a sync of the copies, because push and pull are done only
when what they wrote is on the disk. `sha256sum` is the least that verifying takes on one core: pull reads nothing
that it does not verify. Three states: `cold`, the bytes are not in the page cache; `warm`, they are; `again`, they
are at their destination already. All take turns.
"""

import os
import shutil

from lib import report
from lib.spore import run as run_command

NAME = "transfer"


def run(world, section):
    """Measures all of it, and compares round by round."""
    sources = world.spore.blobs(world.snapshot)
    total = sum(file.stat().st_size for file in sources)
    found = {}
    for _ in range(1 if world.quick else 5):
        for state in ("cold", "warm"):
            for what, ended in one_round(world, sources, state).items():
                found.setdefault((what, state), []).append(ended)
    rows = []
    for (what, state), ended in found.items():
        wall, cpu = ([getattr(one, kind) for one in ended] for kind in ("wall", "cpu"))
        ratios = ["", ""]
        if what in ("push", "pull"):
            ratios = [report.times(report.ratio(wall, [one.wall for one in found[peer, state]])) for peer in PEERS]
        rate = total / report.spread(wall)["median"] / 1e6
        rows.append([what, state, report.seconds(wall), report.seconds(cpu), f"{rate:.0f} MB/s", *ratios])
    print(f"  {report.mebibytes(total)} in {len(sources)} blobs")
    section.table(["what", "state", "wall", "CPU", "rate", *(f"wall to {peer}" for peer in PEERS)], rows)
    section.record(bytes=total)
    for (what, state), ended in found.items():
        section.record(**{f"{what}, {state}": [one.costs() for one in ended]})


PEERS = ("cp, sync", "sha256sum")


def one_round(world, sources, state):
    """Everything once."""
    copies, hub = world.scratch("copies"), world.scratch("hub")
    pulled = world.scratch_root("pulled")
    ready = forget if state == "cold" else read
    found = {}
    ready(sources)
    names = " ".join(f"'{file}'" for file in sources)
    found["cp, sync"] = run_command(["sh", "-c", f"cp {names} '{copies}' && sync '{copies}'/*"])
    ready(sources)
    found["sha256sum"] = run_command(["sha256sum", *sources])
    ready(sources)
    found["push"] = world.spore.run("push", "bench", "--hub", hub)
    ready([file for file in hub.rglob("*") if file.is_file()])
    found["pull"] = pulled.run("pull", "bench", "--hub", hub)
    if state == "warm":
        found["push again"] = world.spore.run("push", "bench", "--hub", hub)
        found["pull again"] = pulled.run("pull", "bench", "--hub", hub)
    shutil.rmtree(copies)
    return found


def forget(files):
    """Puts files out of the page cache."""
    for file in files:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(files):
    """Brings files into the page cache."""
    for file in files:
        with open(file, "rb") as opened:
            while opened.read(1 << 20):
                pass
