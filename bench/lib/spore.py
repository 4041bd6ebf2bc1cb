"""The Spore that is measured: its commands, what they cost, and its sandboxes."""

import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import agent, processes

# What every guest is asked, and what it has to answer.
CODE = "numpy.zeros(5).tolist()"
ANSWER = "[0.0, 0.0, 0.0, 0.0, 0.0]\n"

# What the plain bytes of memory and disks are compressed to.
FRAMES = "application/vnd.spore.frames.v0+zstd"
TITLE = "org.opencontainers.image.title"

# As many at once as `spore fork` starts: one more than there are cores.
IN_FLIGHT = len(os.sched_getaffinity(0)) + 1

# What of the caller's environment chooses engine and mirrors; other SPORE_* would change what is measured.
PASSED_ON = {"SPORE_QEMU", "SPORE_QEMU_DATA", "SPORE_ACCEL", "SPORE_DEBIAN_MIRROR", "SPORE_DEBIAN_SECURITY_MIRROR"}


@dataclass
class Ended:
    """A command that has ended well."""

    output: str
    wall: float
    cpu: float
    errors: str

    def json(self):
        """What it printed."""
        return json.loads(self.output)

    def costs(self):
        """For the record: of what was printed, nothing."""
        return {"wall": self.wall, "cpu": self.cpu}


@dataclass
class Sandbox:
    """A running sandbox."""

    id: str
    folder: Path
    engine: int
    supervisor: int


def run(command, environment=None, watch=None, may_fail=False):
    """Runs a command to its end. `watch` is given the process as soon as it runs."""
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            if watch:
                watch(process)
            output = process.stdout.read()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            process.stdout.close()
        # Not Popen's own wait, which does not say what was used.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
        if process.returncode != 0 and not may_fail:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {text[-2000:]}")
    return Ended(output.decode(errors="replace"), wall, used.ru_utime + used.ru_stime, text)


def shell(script):
    """Runs a script to its end; any part of it that fails, within a pipe too, is a failure."""
    return run(["bash", "-euo", "pipefail", "-c", script])


def each(act, things):
    """Does something with each of many things, as many at once as a fork does; gives the results in order."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return list(pool.map(act, things))


class Spore:
    """An executable and a root."""

    def __init__(self, program, root, home):
        self.program = program
        self.root = root
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPORE_") or name in PASSED_ON}
        # The user's own configuration has no part in this.
        self.environment = {**kept, "XDG_CONFIG_HOME": str(home / "no-configuration")}

    def run(self, *arguments, watch=None, may_fail=False):
        """Runs `spore ARGUMENTS`, JSON as its output."""
        options = ["--root", self.root, "--format", "json", "--quiet"]
        return run([self.program, *options, *map(str, arguments)], self.environment, watch, may_fail)

    def start(self, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        """Starts `spore ARGUMENTS`, whose streams the caller has; they have no buffers."""
        command = [self.program, "--root", self.root, *map(str, arguments)]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, env=self.environment, bufsize=0)

    def steps(self, *arguments):
        """Runs `spore ARGUMENTS`; gives what it printed, and the seconds of each step that its log tells of."""
        options = ["--root", self.root, "--format", "json", "--quiet", "--log-format", "json"]
        environment = {**self.environment, "SPORE_LOG": "sandbox=info"}
        ended = run([self.program, *options, *map(str, arguments)], environment)
        steps = {}
        for line in ended.errors.splitlines():
            fields = json.loads(line).get("fields", {})
            if "step" in fields:
                steps[fields["step"]] = steps.get(fields["step"], 0) + fields["seconds"]
        return ended.json(), steps

    def fork(self, name, count):
        """Forks, and gives what that cost and the ids."""
        ended = self.run("fork", name, "-n", count)
        return ended, [one["id"] for one in ended.json()["sandboxes"]]

    def eval_by_command(self, sandbox):
        """Evaluates by `spore eval`; gives the CPU seconds of that process."""
        ended = self.run("eval", sandbox, CODE)
        check(ended.output)
        return ended.cpu

    def eval_by_client(self, sandbox):
        """Evaluates by a client in this process, whose CPU time is counted as this process's."""
        check(agent.eval_through_supervisor(self.root / "sandboxes" / sandbox, CODE))
        return 0.0

    def sandboxes(self):
        """What runs, and as which processes."""
        return [
            Sandbox(one["id"], self.root / "sandboxes" / one["id"], one["engine_pid"], one["supervisor_pid"])
            for one in self.run("ps").json()["sandboxes"]
        ]

    def kill_all(self):
        """Ends all sandboxes."""
        self.run("kill", "--all")

    def blob(self, digest):
        """Where a blob lies."""
        return self.root / "blobs" / Path(*digest.split(":"))

    def manifest(self, digest):
        """A snapshot's manifest."""
        return json.loads(self.blob(digest).read_bytes())

    def config(self, digest):
        """A snapshot's config."""
        return json.loads(self.blob(self.manifest(digest)["config"]["digest"]).read_bytes())

    def blobs(self, digest):
        """The files of everything that a snapshot consists of."""
        manifest = self.manifest(digest)
        parts = [digest, manifest["config"]["digest"], *(part["digest"] for part in manifest["layers"])]
        return [self.blob(part) for part in parts]

    def flat_memory(self, digest):
        """The snapshot's memory as a plain file, once something was forked from it."""
        return self._flat("map-", self.config(digest)["memory"]["map"])

    def flat_writable(self, digest):
        """The snapshot's writable disk as a plain file, once something was forked from it."""
        maps = [disk["map"] for disk in self.config(digest)["disks"] if disk["role"] == "writable"]
        return self._flat("map-", maps[0])

    def flat_layers(self, digest):
        """The snapshot's layers as plain files, once something was forked from it."""
        return [
            self._flat("layer-", disk["content"]) for disk in self.config(digest)["disks"] if disk["role"] == "layer"
        ]

    def lay_out(self, name):
        """Makes a snapshot's plain files, as its first fork does."""
        self.fork(name, 1)
        self.kill_all()

    def frame_blobs(self, digest, layers=True):
        """The files of what memory and disks, and `layers` if these are wanted, are compressed to, with their sizes: ordinary
        .zst files."""
        return [
            (self.blob(part["digest"]), part["size"])
            for part in self.manifest(digest)["layers"]
            if part["mediaType"] == FRAMES and (layers or not part["annotations"][TITLE].startswith("frames of disk layer"))
        ]

    def _flat(self, kind, digest):
        return self.root / "flat" / digest.replace("sha256:", kind)


def check(output):
    """Refuses an answer that is not the right one."""
    if output != ANSWER:
        raise RuntimeError(f"{CODE} gave {output!r}")
