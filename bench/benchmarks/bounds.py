"""the most memory (RssAnon) of each command, with 64 GiB of memory and 32 GiB of layers

Such a snapshot is made by crates/sandbox/examples/huge.rs, of sparse files, as a bake makes one of a frozen guest; that process is
looked at as one of the commands. Layers are zeros for the most part, but all of their bytes are framed, hashed, verified and laid
out, as any layer's are. Nothing can be restored from it: its fork ends once it has laid out, when the engine refuses the state.

What can be restored is baked of `tiny`, with as much memory. Its guest must not touch it all, so freed pages are not kept empty.

What the disk has no room for is tried smaller, and said so. A layer is laid out only where there is room for all of
it, sparse or not; `bench/README.md` says how to try all of it on a small disk.
"""

import re
import shutil

from lib import report
from lib.examples import build
from lib.footprint import Watch
from lib.spore import run as run_command

NAME = "bounds"
LIMIT = 200e6
MEMORY, LAYERS = 64, 32
# GiB that all else takes.
RESERVE = 12


def run(world, section):
    """Each command once."""
    memory, layers = (4, 2) if world.quick else fitting(world)
    print(f"  {memory} GiB of memory, {layers} GiB of layers")
    peaks = {}
    for found in (synthetic(world, memory, layers), restorable(world, memory)):
        for name, (peak, wall) in found:
            # One that has ended before anybody looked needed next to nothing.
            print(f"  {name:24} {report.mebibytes(peak) if peak else 'not seen':>10} {wall:9.2f} s", flush=True)
            peaks[name] = peak, wall
    section.record(memory_gib=memory, layers_gib=layers, peaks=peaks)
    name, (peak, _) = max(peaks.items(), key=lambda one: one[1][0])
    section.criterion(f"RssAnon of any command, most of all {name}", peak / 1e6, LIMIT / 1e6, " MB", "{:.1f}")


def fitting(world):
    """GiB of memory and of layers for which there is room."""
    free = (shutil.disk_usage(world.scratch("room")).free >> 30) - RESERVE
    memory, layers = MEMORY, LAYERS
    while memory > free:
        memory //= 2
    while layers > free:
        layers //= 2
    if (memory, layers) != (MEMORY, LAYERS):
        print(f"  {free + RESERVE} GiB are free: not tried with {MEMORY} GiB of memory and {LAYERS} GiB of layers")
    return memory, layers


def synthetic(world, memory, layers):
    """What each command that moves a snapshot needs: its name, the most memory, the wall seconds, as they are found."""
    made, pulled, unpacked = (world.scratch_root(name) for name in ("made", "pulled", "unpacked"))
    hub, copied, pack = world.scratch("hub"), world.scratch("copied"), world.scratch("packs") / "huge.spore"
    watch = Watch(world.spore.program)
    ended = run_command([build("sandbox", "huge"), made.root, str(memory), str(layers)], watch=watch)
    yield "bake: frame, sort", (watch.peaks["command"], ended.wall)
    for name, spore, *command in (
        ("push", made, "push", "huge", "--hub", hub),
        ("pack", made, "pack", "huge", "-o", pack),
        ("fsck", made, "fsck"),
        ("du", made, "du"),
        ("inspect", made, "inspect", "huge"),
        ("rm", made, "rm", "huge"),
        ("prune", made, "prune"),
        ("hub copy", made, "hub", "copy", "huge", "--from", hub, "--to", copied),
        ("hub prune", made, "hub", "prune", copied),
        ("pull, laying out", pulled, "pull", "huge", "--hub", hub),
        ("fsck, flat files too", pulled, "fsck"),
        ("unpack --dry-run", unpacked, "unpack", pack, "--dry-run"),
        ("unpack, laying out", unpacked, "unpack", pack),
    ):
        yield name, watched(spore, *command)
    for file in (unpacked.root / "flat").iterdir():
        file.unlink()
    yield "fork, laying out", watched(unpacked, "fork", "huge", may_fail=True)
    for folder in (made.root, pulled.root, unpacked.root, hub, copied, pack.parent):
        shutil.rmtree(folder)


def restorable(world, memory):
    """What the commands need that have a guest, as they are found."""
    spore = world.scratch_root("large")
    yield "bake", watched(spore, "bake", with_memory(world, memory), "--name", "large")
    watch = Watch(spore.program)
    # A host does not always lend a process more memory than it has itself.
    forked = spore.run("fork", "large", watch=watch, may_fail=True)
    if not (sandboxes := spore.sandboxes()):
        print(f"  not forked with {memory} GiB: {forked.errors.strip()[-300:]}")
        return
    yield "fork", (most(watch), forked.wall)
    yield "exec", watched(spore, "exec", sandboxes[0].id, "--", "true")
    yield "kill", watched(spore, "kill", sandboxes[0].id)


def with_memory(world, gibibytes):
    """The recipe `tiny` with so much memory."""
    folder = world.scratch("recipe") / "tiny"
    shutil.copytree(world.recipe.parent / "tiny", folder, symlinks=True)
    path = folder / "recipe.toml"
    machine = f'memory = "{gibibytes}GiB"\ninit_on_free = false'
    text, count = re.subn(r"^memory = .*$", machine, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"{path} says nothing of memory")
    path.write_text(text)
    return folder


def watched(spore, *command, may_fail=False):
    """Runs a command; gives the most that it needed, and the wall seconds."""
    watch = Watch(spore.program)
    ended = spore.run(*command, watch=watch, may_fail=may_fail)
    return most(watch), ended.wall


def most(watch):
    """The most that one process of a command needed, supervisors too."""
    return max(watch.peaks.get(name, 0) for name in ("command", "spore"))
