"""pull from a registry over a link of 50 Mbit/s and 40 ms, alone and with fork -n 100 and an eval in each

The link's own time is the snapshot's bytes by its rate; the wall time is that of `spore pull` as a process, from an empty
root to flat files that are laid out and synced. What comes over the wire is counted by the link.
"""

from benchmarks.hundred import to_first_answers
from lib import report
from lib.registry import RATE, Link, Registry

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

        name = f"{link.host}/bench:1"
        to_first_answers(world, section, "pull over the link", [name], name)
