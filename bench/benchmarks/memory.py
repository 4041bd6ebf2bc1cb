"""private memory of a guest after its first answer, against the bare QEMU's after the same

Read from smaps_rollup: `Anonymous` and `Private_Dirty`. `Private_Clean` is left out: it is page cache, which
counts as private while only one process maps it. Supervisors, which the bare loop does not have, are shown apart.
"""

from lib import processes, report
from lib.spore import each

NAME = "memory"
COUNT = 10
# MiB.
SUPERVISOR_LIMIT = 2


def run(world, section):
    """Takes turns, and compares medians."""
    bare = world.bare()
    count = 3 if world.quick else COUNT
    found = {"ours": [], "bare": [], "supervisor": []}
    for _ in range(1 if world.quick else 2):
        _, ids = world.spore.fork("bench", count)
        each(world.spore.eval_by_client, ids)
        sandboxes = world.spore.sandboxes()
        found["ours"] += [processes.private_bytes(one.engine) for one in sandboxes]
        found["supervisor"] += [processes.private_bytes(one.supervisor) for one in sandboxes]
        world.spore.kill_all()
        found["bare"] += [processes.private_bytes(guest.process.pid) for guest in bare.fork(count)]
        bare.end()
    medians = {}
    rows = []
    for what, sizes in found.items():
        spreads = {kind: report.spread([one[kind] for one in sizes]) for kind in sizes[0]}
        medians[what] = {kind: one["median"] for kind, one in spreads.items()}
        shown = [f"{report.mebibytes(one['median'])} (to {report.mebibytes(one['max'])})" for one in spreads.values()]
        rows.append([what, *shown])
    section.table(["process", "anonymous", "private dirty"], rows)
    section.record(**found)
    for kind in ("anonymous", "private_dirty"):
        compared = medians["ours"][kind] / medians["bare"][kind]
        section.criterion(f"{kind} of a child's QEMU to the bare QEMU's", compared, 1.1)
    largest = max(medians["supervisor"].values())
    section.criterion("private memory of a supervisor", largest / (1 << 20), SUPERVISOR_LIMIT, " MiB", "{:.1f}")
