"""Tables for people, JSON for what comes later, and whether a criterion was met."""

import json
import os
import platform
import statistics
import subprocess
import time


def spread(values):
    """The median of repeated measurements, and the least and the most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repeats": len(values)}


def ratio(ours, peers):
    """Ratios of measurements that were taken in turns, pair by pair: what else the machine did hit both alike."""
    return spread([one / other for one, other in zip(ours, peers)])


def seconds(values):
    """Repeated seconds, for a table."""
    found = spread(values)
    return f"{found['median']:.3f} s ({found['min']:.3f}-{found['max']:.3f})"


def milliseconds(values):
    """Repeated seconds, as milliseconds, for a table."""
    found = {name: value * 1000 for name, value in spread(values).items()}
    return f"{found['median']:.1f} ms ({found['min']:.1f}-{found['max']:.1f})"


def times(found):
    """A spread of ratios, for a table."""
    return f"{found['median']:.2f} ({found['min']:.2f}-{found['max']:.2f})"


def mebibytes(count):
    """Bytes, for a table."""
    return f"{count / (1 << 20):.1f} MiB"


class Section:
    """What one benchmark found."""

    def __init__(self, name):
        self.name = name
        self.data = {}
        self.criteria = []
        self.pending = []
        self.error = None

    def table(self, header, rows):
        """Prints a table."""
        cells = [[str(cell) for cell in row] for row in [header, *rows]]
        widths = [max(map(len, column)) for column in zip(*cells)]
        for row in cells:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

    def record(self, **data):
        """Adds to the JSON."""
        self.data.update(data)

    def commands(self, **commands):
        """Prints and records the exact commands that are compared: what is measured is what stands there."""
        for name, command in commands.items():
            print(f"  {name}: {command}")
        self.data.setdefault("commands", {}).update(commands)

    def criterion(self, what, measured, limit, unit="", show="{:.3f}", least=False):
        """Prints and records whether `measured` is at most `limit`, or with `least` at least that."""
        met = measured >= limit if least else measured <= limit
        shown = f"{show.format(measured)}{unit}"
        verdict = "ok" if met else "MISSED"
        bound = "at least" if least else "at most"
        print(f"  criterion: {what}: {bound} {limit}{unit}  measured: {shown}  {verdict}", flush=True)
        self.criteria.append(
            {"what": what, bound.replace(" ", "_"): limit, "measured": measured, "unit": unit.strip(), "met": met}
        )

    def judge(self):
        """Prints the criteria that :meth:`limit` has put off until the table is out."""
        for criterion in self.pending:
            self.criterion(*criterion)
        self.pending.clear()

    def limit(self, what, measured, limit):
        """A criterion that is printed by :meth:`judge`."""
        self.pending.append((what, measured, limit))

    def failed(self, error):
        """Notes why there is no result."""
        self.error = f"{type(error).__name__}: {error}"
        print(f"  failed: {self.name}: {self.error}", flush=True)


class Results:
    """All sections of a run."""

    def __init__(self, world):
        self.world = world
        self.sections = []
        self.began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.load = [os.getloadavg()]

    def add(self, section):
        """Adds what a benchmark found."""
        self.sections.append(section)
        self.load.append(os.getloadavg())

    def write(self):
        """Writes latest.json, and prints the criteria once more."""
        qemu = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=False).stdout
        document = {
            "began": self.began,
            "executable": {"path": str(self.world.program), "sha256_16": self.world.executable},
            "host": {"cpus": os.cpu_count(), "kernel": platform.release(), "load_averages": self.load},
            "qemu": qemu.splitlines()[0] if qemu else None,
            "quick": self.world.quick,
            "benchmarks": {
                section.name: {"criteria": section.criteria, "error": section.error, **section.data}
                for section in self.sections
            },
        }
        path = self.world.results
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1) + "\n")
        part.rename(path)
        judged = [(section.name, one) for section in self.sections for one in section.criteria]
        missed = [f"{name}: {one['what']}" for name, one in judged if not one["met"]]
        busy = max(load[0] for load in self.load)
        print(f"\nresults: {path}\nload average while measuring: up to {busy:.1f} on {os.cpu_count()} cores")
        failed = [f"{section.name}: {section.error}" for section in self.sections if section.error]
        for title, lines in (("criteria missed", missed), ("could not be run", failed)):
            print("\n".join([f"{title}: {len(lines)}", *(f"  {line}" for line in lines)]))
