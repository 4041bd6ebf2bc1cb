"""where the time from fork to the first answer goes, N = 1

The bare loop is timed at each step (lib/bare.py), wall time and QEMU's CPU time: what no orchestration can take
away. HELLO and identity are sent together, as Spore does, and the agent reads them together: its answer to the first
comes when it has done most of the second. Spore's total is taken in turns with it, split by process. Laying out is
what the first fork after a pull does once: flat files, which are a cache, are removed, and the fork that makes them
again is compared with one that finds them.
"""

from benchmarks.fork import ours
from lib import report
from lib.bare import PHASES

NAME = "phases"

MEANING = {
    "folder": "folder, hard links, overlay",
    "start": "exec of QEMU to its first QMP answer",
    "load": "state loaded, link set, agent connected",
    "hello": "continued, HELLO answered",
    "identity": "identity acknowledged",
    "answer": "eval answered",
}


def run(world, section):
    """Measures all of it."""
    repeats = 2 if world.quick else 10
    bare = world.bare()
    guests, spores, laid_out = [], [], []
    for _ in range(repeats):
        guests += [(guest.wall, guest.cpu) for guest in bare.fork(1)]
        bare.end()
        spores.append(ours(world, 1, world.spore.eval_by_client))
    for _ in range(1 if world.quick else 3):
        laid_out.append(lay_out(world))
    rows = []
    for phase in PHASES:
        wall, cpu = ([guest[kind][phase] for guest in guests] for kind in (0, 1))
        rows.append([f"bare: {MEANING[phase]}", report.milliseconds(wall), report.milliseconds(cpu)])
    totals = [[sum(guest[kind].values()) for guest in guests] for kind in (0, 1)]
    rows.append(["bare: all", *map(report.milliseconds, totals)])
    for part in spores[0]["parts"]:
        rows.append([f"spore: {part}", "", report.milliseconds([one["parts"][part] for one in spores])])
    rows.append(["spore: all", *(report.milliseconds([one[kind] for one in spores]) for kind in ("wall", "cpu"))])
    rows.append(["spore: laying out, once for a snapshot", *map(report.milliseconds, zip(*laid_out))])
    section.table(["what", "wall", "CPU (QEMU's, in bare)"], rows)
    section.record(bare=[{"wall": wall, "cpu": cpu} for wall, cpu in guests], spore=spores, lay_out=laid_out)


def lay_out(world):
    """What a fork costs more, wall and CPU, when it has to lay out first."""
    costs = []
    for prepare in (lambda: remove_flats(world), lambda: None):
        prepare()
        forked, _ = world.spore.fork("bench", 1)
        world.spore.kill_all()
        costs.append((forked.wall, forked.cpu))
    (cold_wall, cold_cpu), (wall, cpu) = costs
    return cold_wall - wall, cold_cpu - cpu


def remove_flats(world):
    """Forgets flat files, as a collection of caches may."""
    for file in (world.spore.root / "flat").iterdir():
        file.unlink()
