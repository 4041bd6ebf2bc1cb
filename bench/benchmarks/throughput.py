"""throughput of exec, from host to guest and back, against a bare virtio-serial port

The bare channel is a second port of the same machine, booted from the same kernel, layers and disk (lib/booted.py), with no protocol: `dd`
in the guest reads or writes the port itself, in blocks of 64 KiB, and this program writes or reads the socket at its other end. Ours is
the same `dd` behind `spore exec`, whose bytes go through the command, the supervisor, the agent's one port and a pipe in the guest.

The criterion is of the bare channel in a guest that Linux's defaults boot, as it was when the criterion was set. A bake turns
Linux's mitigations off in emulated guests (ARCHITECTURE.md), which makes the bare channel two to three times as fast. That channel is
shown besides, and what the most is that any exec can carry by it: the port with a pipe behind it to another program, without a
protocol either. In an emulated guest a pipe costs about as much as the port.

All are timed from the request to the end of `dd`. The guests run one at a time: each has the host's cores to itself.
"""

import subprocess
import time
from functools import partial

from lib import report
from lib.booted import BLOCK, PORT, Booted

NAME = "throughput"
LIMIT = 0.8
# Guests with a bare port: one that Linux's defaults boot, and one like ours.
DEFAULT, SAME = "Linux's defaults", "booted as ours"

SINK = "dd of=/dev/null bs=64k iflag=fullblock status=none"
SOURCE = "dd if=/dev/zero bs=64k status=none count={blocks}"
FROM_PORT = f"dd if={PORT} bs=64k iflag=fullblock status=none count={{blocks}}"
TO_PORT = f"dd of={PORT} bs=64k iflag=fullblock status=none"


def run(world, section):
    """Takes turns."""
    blocks = 512 if world.quick else 2048
    size, source, from_port = blocks * BLOCK, SOURCE.format(blocks=blocks), FROM_PORT.format(blocks=blocks)
    bare = {
        "in, bare": f"{from_port} of=/dev/null",
        "in, bare, by a pipe": f"{from_port} | {SINK}",
        "out, bare": f"{source} of={PORT}",
        "out, bare, by a pipe": f"{source} | {TO_PORT}",
    }
    section.commands(**{"in": f"spore exec -i ID -- {SINK}", "out": f"spore exec ID -- {source}", **bare})
    guests = {
        DEFAULT: Booted(world.spore, world.snapshot, "bench", world.scratch("default"), mitigations=True),
        SAME: Booted(world.spore, world.snapshot, "bench", world.scratch("same")),
    }
    _, (sandbox,) = world.spore.fork("bench", 1)
    acts = {
        "in": lambda: into(world.spore, sandbox, blocks),
        "out": lambda: out(world.spore, sandbox, source, size),
    }
    for kind, guest in guests.items():
        for what, command in bare.items():
            act = guest.into if what.startswith("in") else guest.out_of
            acts[f"{what}, {kind}"] = partial(act, command, size)
    found = {what: [] for what in sorted(acts)}
    for number in range(1 + (2 if world.quick else 7)):
        for what in found:
            wall = acts[what]()
            # The first round is for what is translated, and for buffers that grow.
            if number:
                found[what].append(wall)
    for guest in guests.values():
        guest.end()
    world.spore.kill_all()
    judge(section, found, size)


def into(spore, sandbox, blocks):
    """Sends blocks to a program of the sandbox; gives the seconds."""
    began = time.perf_counter()
    with spore.start("exec", "-i", sandbox, "--", *SINK.split(), stdin=subprocess.PIPE) as process:
        block = bytes(BLOCK)
        for _ in range(blocks):
            process.stdin.write(block)
    return ended(process, began)


def out(spore, sandbox, command, size):
    """Takes what a program of the sandbox writes; gives the seconds."""
    began = time.perf_counter()
    with spore.start("exec", sandbox, "--", *command.split(), stdout=subprocess.PIPE) as process:
        came = 0
        while part := process.stdout.read(BLOCK):
            came += len(part)
    if came != size:
        raise RuntimeError(f"{came} bytes came: expected {size}")
    return ended(process, began)


def ended(process, began):
    """The seconds of a process that has ended."""
    if process.returncode != 0:
        raise RuntimeError(f"spore exec ended with {process.returncode}")
    return time.perf_counter() - began


def judge(section, found, size):
    """The table, and the criteria."""
    rates = {what: [size / wall / 1e6 for wall in walls] for what, walls in found.items()}
    rows = []
    for what, these in rates.items():
        one = report.spread(these)
        ours = rates[what.split(",")[0]]
        share = report.times(report.ratio(ours, these)) if these is not ours else ""
        rows.append([what, f"{one['median']:.0f} MB/s ({one['min']:.0f}-{one['max']:.0f})", share])
    section.table([f"{report.mebibytes(size)} each", "rate", "exec to it"], rows)
    section.record(bytes=size, seconds=found)
    for direction in ("in", "out"):
        ratio = report.ratio(rates[direction], rates[f"{direction}, bare, {DEFAULT}"])
        what = {"in": "host to guest", "out": "guest to host"}[direction]
        section.criterion(f"exec {what}, to the bare channel by {DEFAULT}", ratio["median"], LIMIT, least=True)
