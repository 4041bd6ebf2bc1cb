"""pull from a registry over a link of 50 Mbit/s and 40 ms, alone and with fork -n 100 and an eval in each

The link's own time is the snapshot's bytes by its rate; the wall time is that of `spore pull` as a process, from an empty
root to flat files that are laid out and synced. What comes over the wire is counted by the link.
"""

import time

from lib import report
from lib.registry import RATE, Link, Registry
from lib.spore import each

NAME = "link"


def run(world, section):
    """Does both."""
    with Registry(world.scratch("registry")) as registry, Link(registry.host) as link:
        world.spore.run("push", "local/bench", f"{registry.host}/bench:1")
        size = sum(file.stat().st_size for file in world.spore.blobs(world.snapshot))
        walls, came = [], []
        for _ in range(1 if world.quick else 3):
            spore = world.scratch_root("pulled")
            link.bytes()
            walls.append(spore.run("pull", f"{link.host}/bench:1").wall)
            came.append(link.bytes())
        least = size / RATE
        ratios = [wall / least for wall in walls]
        section.table(
            ["what", "bytes", "wall", "to the link's own time"],
            [
                ["the snapshot", report.mebibytes(size), f"{least:.2f} s (the link's own)", "1"],
                ["pull", report.mebibytes(max(came)), report.seconds(walls), report.times(report.spread(ratios))],
            ],
        )
        section.record(size=size, link_seconds=least, walls=walls, came=came)
        section.criterion("pull over the link, to the link's own time", report.spread(ratios)["median"], 1.15)
        section.criterion("bytes on the wire, to those of the snapshot", max(came) / size, 1.02)

        count = 5 if world.quick else 100
        spore = world.scratch_root("pulled")
        moments = [time.perf_counter()]
        spore.run("pull", f"{link.host}/bench:1")
        moments.append(time.perf_counter())
        _, ids = spore.fork(f"{link.host}/bench:1", count)
        moments.append(time.perf_counter())
        each(spore.eval_by_command, ids)
        moments.append(time.perf_counter())
        spore.kill_all()
    steps = dict(zip(("pull", f"fork -n {count}", f"{count} evals"), (b - a for a, b in zip(moments, moments[1:]))))
    total = moments[-1] - moments[0]
    section.table(["step", "wall"], [[step, f"{wall:.1f} s"] for step, wall in [*steps.items(), ("all", total)]])
    section.record(count=count, total=total, steps=steps)
    section.criterion(f"pull over the link, fork -n {count} and {count} evals", total, 60, " s", "{:.1f}")
