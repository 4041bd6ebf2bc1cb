"""where the time from fork to the first answer goes, N = 1

The bare loop is timed at each step (lib/bare.py), wall time and QEMU's CPU time: what no orchestration can take
away. HELLO and identity are sent together, as Spore does, and the agent reads them together: its answer to the first
comes when it has done most of the second. Spore's total is taken in turns with it, split by process. Laying out is
what the first fork after a pull does once: flat files, which are a cache, are removed, and the fork that makes them
again is compared with one that finds them.

Spore's own share is everything but QEMU and the guest, told in two ways. CPU: what its processes use, `spore fork`, the supervisor and
`spore eval`. Wall: what `spore fork` and the answer take longer than QEMU and the guest do by themselves, which is the bare
loop without its first step, the folder; of neighbours in turns. Of each side's wall time the CPU time that its QEMU used is taken off
first: it varies by ten times the share that is looked for, and `fork` compares it. The difference with it is shown besides.
"""

import statistics

from benchmarks.fork import ours
from lib import report
from lib.bare import PHASES

NAME = "phases"
# Seconds.
OWN_LIMIT = 0.015

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
    repeats = 2 if world.quick else 40
    bare = world.bare()
    guests, spores, typed, laid_out = [], [], [], []
    for _ in range(repeats):
        guests += [(guest.wall, guest.cpu) for guest in bare.fork(1)]
        bare.end()
        spores.append(ours(world, 1, world.spore.eval_by_client))
        typed.append(ours(world, 1, world.spore.eval_by_command))
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
    evals = [one["parts"]["evals"] for one in typed]
    rows.append(["spore: eval by a command instead", "", report.milliseconds(evals)])
    rows.append(["spore: all", *(report.milliseconds([one[kind] for one in spores]) for kind in ("wall", "cpu"))])
    rows.append(["spore: laying out, once for a snapshot", *map(report.milliseconds, zip(*laid_out))])
    section.table(["what", "wall", "CPU (QEMU's, in bare)"], rows)
    section.record(bare=[{"wall": wall, "cpu": cpu} for wall, cpu in guests], spore=spores, typed=typed, lay_out=laid_out)
    own_cpu = [sum(one["parts"][part] for part in ("fork", "supervisors", "evals")) for one in typed]
    longer = [one["wall"] - total + wall["folder"] for one, total, (wall, _) in zip(spores, totals[0], guests)]
    qemu_longer = [one["parts"]["qemu"] - cpu for one, cpu in zip(spores, totals[1])]
    own_wall = [wall - cpu for wall, cpu in zip(longer, qemu_longer)]
    print(f"  wall time over the bare loop's, with what QEMU used more or less: {report.milliseconds(longer)}")
    shares = [own / cpu for own, cpu in zip(own_cpu, totals[1])]
    # The machine's speed changes both alike.
    print(f"  Spore's own share, CPU, of what QEMU uses in the bare loop: {statistics.median(shares):.1%}")
    for kind, own in (("CPU", own_cpu), ("wall", own_wall)):
        print(f"  Spore's own share, {kind}: {report.milliseconds(own)}")
        median = report.spread(own)["median"] * 1000
        section.criterion(f"Spore's own share of fork to answer, {kind}", median, OWN_LIMIT * 1000, " ms", "{:.1f}")


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
