"""fork to answer, N = 1, 10, 100, against a bare loop (CPU and wall time)

Ours is `spore fork -n N`, then one eval in each sandbox, as many at once as `fork` itself starts. The evals are
made in two ways, each in rounds of its own:

- `client`: by this program over the supervisors' control sockets, which is what the bare loop does over the
  agents' sockets. Like is compared with like.
- `command`: by one `spore eval` process each, which is what a person types. It adds a process to each answer.

The peer is lib/bare.py: the same QEMU, the same arguments, files, state, messages and number at once.

CPU time is user and system time of every process involved: what wait4 says of the commands that ended, and
the CPU clocks of the QEMUs and supervisors, read when all have answered. This program's own time counts on both
sides: it is the bare loop's orchestration. What ends the guests is not counted. Rounds of all three take turns,
and ratios are made of neighbours, so that a machine that is busy with other things does not decide.
"""

import time

from lib import processes, report
from lib.spore import each

NAME = "fork"
# CPU time to the bare loop's; of a hundred, wall time too.
LIMITS = {100: 1.2}
LIMIT = 1.25


def run(world, section):
    """Measures each N."""
    bare = world.bare()
    rows = []
    for count, repeats in ((1, 2), (4, 1)) if world.quick else ((1, 12), (10, 5), (100, 2)):
        rounds = {"client": [], "command": [], "bare": []}
        for _ in range(repeats):
            rounds["client"].append(ours(world, count, world.spore.eval_by_client))
            rounds["bare"].append(peer(bare, count))
            rounds["command"].append(ours(world, count, world.spore.eval_by_command))
        rows += summarise(section, count, rounds)
    section.table(["N", "what", "CPU per guest", "of it QEMU", "wall", "CPU ratio", "wall ratio"], rows)
    section.judge()


def ours(world, count, evaluate):
    """One round of Spore's."""
    own, began = time.process_time(), time.perf_counter()
    forked, ids = world.spore.fork("bench", count)
    evals = each(evaluate, ids)
    wall, own = time.perf_counter() - began, time.process_time() - own
    sandboxes = world.spore.sandboxes()
    engines = sum(processes.cpu_seconds(one.engine) for one in sandboxes)
    supervisors = sum(processes.cpu_seconds(one.supervisor) for one in sandboxes)
    world.spore.kill_all()
    if len(sandboxes) != count:
        raise RuntimeError(f"{len(sandboxes)} sandboxes run: expected {count}")
    parts = {"fork": forked.cpu, "supervisors": supervisors, "evals": sum(evals), "driver": own, "qemu": engines}
    return {"wall": wall, "cpu": sum(parts.values()), "parts": parts}


def peer(bare, count):
    """One round of the bare loop."""
    own, began = time.process_time(), time.perf_counter()
    guests = bare.fork(count)
    wall, own = time.perf_counter() - began, time.process_time() - own
    parts = {"driver": own, "qemu": sum(processes.cpu_seconds(guest.process.pid) for guest in guests)}
    bare.end()
    return {"wall": wall, "cpu": sum(parts.values()), "parts": parts}


def summarise(section, count, rounds):
    """The rows of one N."""
    rows = []
    for what, these in rounds.items():
        cpu, wall = ([one[key] for one in these] for key in ("cpu", "wall"))
        of_qemu = [one["parts"]["qemu"] / count for one in these]
        cpu_ratio = report.ratio(cpu, [one["cpu"] for one in rounds["bare"]])
        wall_ratio = report.ratio(wall, [one["wall"] for one in rounds["bare"]])
        per_guest = report.milliseconds([one / count for one in cpu])
        ratios = ("", "") if what == "bare" else (report.times(cpu_ratio), report.times(wall_ratio))
        rows.append([count, what, per_guest, report.milliseconds(of_qemu), report.seconds(wall), *ratios])
        if what != "bare":
            compared = f"fork to answer, N = {count}, evals by {what}, to a bare loop's"
            section.limit(f"CPU of {compared}", cpu_ratio["median"], LIMITS.get(count, LIMIT))
            if count in LIMITS:
                section.limit(f"wall time of {compared}", wall_ratio["median"], LIMITS[count])
    section.record(**{f"n{count}": rounds})
    return rows
