"""pull, fork -n 100, and one eval in each, together

What somebody waits for who has nothing yet: an empty root, a hub in a folder, the commands that a person types
(`spore pull`, `spore fork`, `spore eval`), as many evals at once as `fork` starts guests. The limit is wall time.
"""

import time

from lib.spore import each

NAME = "hundred"
LIMIT = 60


def run(world, section):
    """Does it once, from a folder."""
    hub = world.scratch("hub")
    world.spore.run("push", "bench", "--hub", hub)
    to_first_answers(world, section, "pull", ["bench", "--hub", hub], "bench")


def to_first_answers(world, section, what, pull, name):
    """Times `spore pull` with these arguments into an empty root, then forks of `name` until each has answered."""
    count = 5 if world.quick else 100
    spore = world.scratch_root("pulled")
    moments = [time.perf_counter()]
    spore.run("pull", *pull)
    moments.append(time.perf_counter())
    _, ids = spore.fork(name, count)
    moments.append(time.perf_counter())
    each(spore.eval_by_command, ids)
    moments.append(time.perf_counter())
    spore.kill_all()
    steps = dict(zip((what, f"fork -n {count}", f"{count} evals"), (b - a for a, b in zip(moments, moments[1:]))))
    total = moments[-1] - moments[0]
    section.table(["step", "wall"], [[step, f"{wall:.1f} s"] for step, wall in [*steps.items(), ("all", total)]])
    section.record(count=count, total=total, steps=steps)
    section.criterion(f"{what}, fork -n {count} and {count} evals", total, LIMIT, " s", "{:.1f}")
