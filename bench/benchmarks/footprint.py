"""the most memory that a command needs (RssAnon), and whether flat files stay sparse

RssAnon of the command's process is looked at every 10 ms while it runs: bake, from an empty root; push; pull; fork.
What the command starts, supervisors and other programs (mmdebstrap, tar …), is shown apart; QEMU, whose
memory is the guest's, is left out. Sparse: a flat file takes no more room than its pages that are not zero.
"""

from lib import report
from lib.footprint import Watch

NAME = "footprint"
LIMIT = 200e6
PAGE = 4096


def run(world, section):
    """Watches each command once."""
    peaks = {"bake": world.bake("bench", world.recipe)["peaks"]}
    hub, pulled = world.scratch("hub"), world.scratch_root("pulled")
    count = 3 if world.quick else 20
    commands = {
        "push": (world.spore, "push", "bench", "--hub", hub),
        "pull": (pulled, "pull", "bench", "--hub", hub),
        "fork, laying out": (pulled, "fork", "bench", "-n", count),
    }
    for name, (spore, *command) in commands.items():
        watch = Watch(spore.program)
        spore.run(*command, watch=watch)
        peaks[name] = watch.peaks
    pulled.kill_all()
    rows = []
    for name, found in peaks.items():
        others = {what: size for what, size in found.items() if what != "command"}
        largest = max(others, key=others.get, default=None)
        started = f"{report.mebibytes(others[largest])} ({largest})" if largest else "-"
        rows.append([name, report.mebibytes(found.get("command", 0)), started])
    section.table(["command", "peak RssAnon", "largest process that it started"], rows)
    flats = [flat(file) for file in sorted((pulled.root / "flat").iterdir())]
    section.table(
        ["flat file", "size", "takes", "not zero"],
        [[name, *map(report.mebibytes, sizes)] for name, *sizes in flats],
    )
    section.record(peaks=peaks, flats=flats)
    for name, found in peaks.items():
        section.criterion(f"RssAnon of {name}", found.get("command", 0) / 1e6, LIMIT / 1e6, " MB", "{:.1f}")
    # The file system's own blocks, which map where the others lie, are in the count.
    excess = max(takes / max(filled, PAGE) for _, _, takes, filled in flats)
    section.criterion("room that a flat file takes to its pages that are not zero", excess, 1.05)


def flat(file):
    """A flat file's name, size, allocated bytes, and bytes of pages that are not zero."""
    stat = file.stat()
    return file.name[:16], stat.st_size, stat.st_blocks * 512, nonzero(file)


def nonzero(file):
    """Bytes of pages that are not zero."""
    zero, count = bytes(PAGE), 0
    with open(file, "rb") as opened:
        while page := opened.read(PAGE):
            count += page != zero[: len(page)]
    return count * PAGE
