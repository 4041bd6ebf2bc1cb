"""pull, fork -n 100, and one eval in each, together

What somebody waits for who has nothing yet: an empty root, a hub in a folder, the commands that a person types
(`spore pull`, `spore fork`, `spore eval`), as many evals at once as `fork` starts guests. The limit is wall time.
"""

import time

from lib.spore import each

NAME = "hundred"
LIMIT = 60


def run(world, section):
    """Does it once."""
    count = 5 if world.quick else 100
    hub = world.scratch("hub")
    world.spore.run("push", "bench", "--hub", hub)
    spore = world.scratch_root("pulled")
    moments = [time.perf_counter()]
    spore.run("pull", "bench", "--hub", hub)
    moments.append(time.perf_counter())
    _, ids = spore.fork("bench", count)
    moments.append(time.perf_counter())
    each(spore.eval_by_command, ids)
    moments.append(time.perf_counter())
    spore.kill_all()
    steps = dict(zip(("pull", f"fork -n {count}", f"{count} evals"), (b - a for a, b in zip(moments, moments[1:]))))
    total = moments[-1] - moments[0]
    section.table(["step", "wall"], [[step, f"{wall:.1f} s"] for step, wall in [*steps.items(), ("all", total)]])
    section.record(count=count, total=total, steps=steps)
    section.criterion(f"pull, fork -n {count} and {count} evals", total, LIMIT, " s", "{:.1f}")
