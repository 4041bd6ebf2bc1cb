"""CPU time of an idle child, against an idle bare QEMU of the same machine

Both run at the same time, side by side, after all have answered and settled, with the agent connection open in
both. A guest that nobody asks anything wakes up by its own timers only: what differs is what we do to it.
"""

import time

from lib import processes, report
from lib.spore import each

NAME = "idle"
# Seconds. The bare guests started last: what a start leaves to do must be over for them too.
SETTLE = 15


def run(world, section):
    """Watches both for a while."""
    count, watched = (2, 8) if world.quick else (4, 30)
    bare = world.bare()
    _, ids = world.spore.fork("bench", count)
    each(world.spore.eval_by_client, ids)
    sandboxes = world.spore.sandboxes()
    guests = bare.fork(count)
    pids = {
        "ours": [one.engine for one in sandboxes],
        "bare": [guest.process.pid for guest in guests],
        "supervisor": [one.supervisor for one in sandboxes],
    }
    time.sleep(SETTLE)
    before, began = used(pids), time.perf_counter()
    time.sleep(watched)
    after, wall = used(pids), time.perf_counter() - began
    shares = {
        what: [(late - early) / wall for early, late in zip(before[what], after[what])] for what in pids
    }
    world.spore.kill_all()
    bare.end()
    rows = []
    for what, these in shares.items():
        found = report.spread([share * 100 for share in these])
        rows.append([what, f"{found['median']:.3f} % ({found['min']:.3f}-{found['max']:.3f})"])
    section.table(["process", f"of a core, over {wall:.0f} s"], rows)
    section.record(seconds=wall, **shares)
    ours, peer = (report.spread(shares[what])["median"] for what in ("ours", "bare"))
    section.criterion("idle CPU of a child's QEMU to the bare QEMU's", ours / peer, 1.1)


def used(pids):
    """CPU seconds so far."""
    return {what: [processes.cpu_seconds(pid) for pid in these] for what, these in pids.items()}
