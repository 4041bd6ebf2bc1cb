"""The folder that everything happens in, the snapshot that is measured, and the end of what was started."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

from . import processes
from .bare import Bare
from .footprint import Watch
from .spore import Spore

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent
NAME = "bench"
DEFAULTS = "bench-defaults"


class World:
    """`target/bench`: locked, swept, and with one root for each executable that was measured."""

    def __init__(self, quick):
        self.quick = quick
        self.recipe = REPOSITORY / "recipes" / "python-numpy"
        self.program = Path(os.environ.get("SPORE", REPOSITORY / "target" / "release-lto" / "spore")).absolute()
        self.folder = REPOSITORY / "target" / "bench"
        self.results = HERE / "results" / "latest.json"
        self.executable = None

    def __enter__(self):
        if not self.program.exists():
            sys.exit(f"bench: {self.program} is not there: make bench")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.folder / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"bench: another run holds {self.folder}/lock")
        # What a run that was killed has left.
        self.end_processes()
        self._remove_scratch()
        # A copy: a build that replaces the executable meanwhile changes nothing.
        self.executable = hashlib.sha256(self.program.read_bytes()).hexdigest()[:16]
        self.home = self.folder / self.executable
        for other in self.folder.iterdir():
            # Scratch was swept, and may be a mount.
            if other.is_dir() and other not in (self.home, self.folder / "scratch"):
                shutil.rmtree(other)
        self.home.mkdir(exist_ok=True)
        if not (self.home / "spore").exists():
            shutil.copy2(self.program, self.home / "spore.new")
            (self.home / "spore.new").rename(self.home / "spore")
        self.spore = Spore(self.home / "spore", self.home / "root", self.home)
        return self

    def __exit__(self, *_):
        self.end_processes()
        self._remove_scratch()
        self.lock.close()

    def scratch_root(self, name):
        """The same executable with a new, empty root, which goes at the end."""
        return Spore(self.home / "spore", self.scratch(name), self.home)

    def scratch(self, name):
        """A new, empty folder, which goes at the end."""
        folder = self.folder / "scratch" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def prepare(self):
        """Bakes what is measured, from nothing: caches are not taken over from another executable."""
        self.snapshot = self.bake(NAME, self.recipe)["digest"]

    def bake(self, name, recipe):
        """Bakes a recipe, once for each executable and recipe; gives what `spore bake` said and what it took."""
        sources = b"".join(path.read_bytes() for path in sorted(recipe.rglob("*")) if path.is_file())
        stamp = self.home / f"{name}-{hashlib.sha256(sources).hexdigest()[:16]}.json"
        if not stamp.exists():
            print(f"baking {recipe.name} as {name}", flush=True)
            watch = Watch(self.spore.program)
            ended = self.spore.run("bake", recipe, "--name", name, watch=watch)
            baked = {**ended.json(), "wall_seconds": ended.wall, "peaks": watch.peaks}
            stamp.write_text(json.dumps(baked, indent=1))
        return json.loads(stamp.read_text())

    def bake_defaults(self):
        """Bakes the same recipe without what keeps freed memory empty: the guest that Debian's defaults make."""
        folder = self.scratch("recipe") / self.recipe.name
        shutil.copytree(self.recipe, folder)
        path = folder / "recipe.toml"
        text, count = re.subn(r"^\[machine\]$", "[machine]\ninit_on_free = false", path.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise RuntimeError(f"{path} has no [machine] to change")
        path.write_text(text)
        return self.bake(DEFAULTS, folder)

    def have_memory(self):
        """Has the host of a virtual machine give it as much memory as a command is going to write: what is free may not be
        there, and who touches a page first would pay for that."""
        file = self.scratch("memory") / "file"
        with open(file, "wb", buffering=0) as opened:
            for _ in range(1024):
                opened.write(bytes(1 << 20))
        file.unlink()

    def bare(self):
        """A bare loop over the snapshot that is measured."""
        return Bare(self.spore, self.snapshot, NAME, self.scratch("bare"))

    def end_processes(self):
        """Ends every guest that was started in the folder, by this run or an earlier one, and removes its sandbox."""
        processes.end(processes.started_in(self.folder))
        roots = {self.spore.root, *(self.folder / "scratch").glob("*")} if self.executable else ()
        for root in roots:
            if (root / "sandboxes").is_dir():
                Spore(self.home / "spore", root, self.home).kill_all()

    def _remove_scratch(self):
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)
