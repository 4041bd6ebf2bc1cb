"""The bare loop: the least that takes a snapshot's files to an answer.

It starts the same executable with the same arguments as a real sandbox's engine was started with, in a folder
with the same hard links and a fresh overlay; waits for the same state to be loaded; sets the link, connects to
the agent, continues; sends the same HELLO, identity and eval; waits for the same answer. It keeps no record,
takes no lock, checks nothing, starts no process but QEMU. What Spore costs more than this is its orchestration.
"""

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import agent, processes
from .spore import CODE, check, each, run

# The moments of a fork, in order; the time of each is the time since the one before.
PHASES = ("folder", "start", "load", "hello", "identity", "answer")


@dataclass
class Guest:
    """A QEMU that has answered."""

    process: subprocess.Popen
    folder: Path
    # Held open as a supervisor holds them.
    qmp: socket.socket
    agent: agent.Agent
    # Wall seconds, and CPU seconds of QEMU, of each phase.
    wall: dict = field(default_factory=dict)
    cpu: dict = field(default_factory=dict)


class Qmp:
    """QEMU's control socket, already connected."""

    def __init__(self, stream):
        self.stream = stream
        self.lines = stream.makefile("rb")

    def call(self, command, **arguments):
        """Sends a command and waits for its answer."""
        self.stream.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        self.until(lambda message: "return" in message)

    def until(self, wanted):
        """Waits for a message."""
        for line in self.lines:
            message = json.loads(line)
            if "error" in message:
                raise RuntimeError(f"QEMU refused: {message['error']['desc']}")
            if wanted(message):
                return
        raise ConnectionError("QEMU has ended")


class Template:
    """What a sandbox's engine is started with: its arguments, the files in its folder, and an empty overlay."""

    def __init__(self, spore, snapshot, name, folder):
        """Takes it from a sandbox of `name` that is forked for this."""
        shutil.rmtree(folder, ignore_errors=True)
        self.files = folder / "template"
        self.files.mkdir(parents=True)
        config = spore.config(snapshot)
        spore.fork(name, 1)
        sandbox = spore.sandboxes()[0]
        self.arguments = Path(f"/proc/{sandbox.engine}/cmdline").read_text().split("\0")[:-1]
        for file in sandbox.folder.iterdir():
            if file.is_file() and file.stat().st_nlink > 1:
                os.link(file, self.files / file.name)
        spore.kill_all()
        # The sandbox's own state is removed once it is loaded, its overlay has been written to.
        run(["zstd", "-dqo", self.files / "state", spore.blob(config["engine"]["state"])])
        size = next(disk["size"] for disk in config["disks"] if disk["role"] == "writable")
        self.overlay = folder / "writable.overlay"
        run(["qemu-img", "create", "-q", "-f", "qcow2", self.overlay, str(size)])

    def fill(self, folder):
        """Makes a guest's folder."""
        folder.mkdir()
        for file in self.files.iterdir():
            os.link(file, folder / file.name)
        shutil.copyfile(self.overlay, folder / self.overlay.name)


class Bare:
    """The loop, and the QEMUs that it has started."""

    def __init__(self, spore, snapshot, name, folder):
        """Takes arguments and files from a sandbox of `name` that is forked for this."""
        self.template = Template(spore, snapshot, name, folder)
        self.folder = folder / "guests"
        self.folder.mkdir()
        self.numbers = itertools.count()
        self.guests = []

    def fork(self, count):
        """Starts `count` guests, and gives them when all have answered."""
        self.guests += each(lambda _: self._one(), range(count))
        return self.guests

    def end(self):
        """Ends all guests and removes their folders."""
        processes.end([guest.process.pid for guest in self.guests])
        for guest in self.guests:
            guest.process.poll()
            guest.qmp.close()
            guest.agent.stream.close()
            shutil.rmtree(guest.folder)
        self.guests.clear()

    def _one(self):
        number = next(self.numbers)
        moments = [(time.perf_counter(), 0.0)]
        guest = None

        def moment():
            moments.append((time.perf_counter(), processes.cpu_seconds(guest.pid) if guest else 0.0))

        folder = self.folder / str(number)
        self.template.fill(folder)
        moment()
        with listen(folder, "qmp") as qmp, listen(folder, "agent") as port, open(folder / "engine.log", "wb") as log:
            guest = start(self.template.arguments, folder, {"qmp": qmp.fileno(), "agent": port.fileno()}, log)
        control = Qmp(agent.connect(folder, "qmp"))
        control.call("qmp_capabilities")
        moment()
        control.call("migrate-incoming", uri="file:state")
        control.until(lambda message: message.get("data", {}).get("status") == "completed")
        control.call("set_link", name="nic0", up=False)
        channel = agent.Agent(agent.connect(folder, "agent"))
        moment()
        control.call("cont")
        channel.send((0, agent.identity(number)), greet=True)
        channel.await_greeting()
        moment()
        channel.expect("identity_done")
        moment()
        check(channel.eval(1, CODE))
        moment()
        pairs = list(zip(PHASES, moments, moments[1:]))
        wall = {phase: after[0] - before[0] for phase, before, after in pairs}
        cpu = {phase: after[1] - before[1] for phase, before, after in pairs}
        return Guest(guest, folder, control.stream, channel, wall, cpu)


def start(arguments, folder, sockets, log):
    """Starts QEMU with a sandbox's own arguments, but for the numbers that the inherited sockets have here."""

    def numbered(argument):
        found = re.match(r"socket,id=(\w+),fd=\d*,", argument)
        return re.sub(r"fd=\d*", f"fd={sockets[found[1]]}", argument) if found else argument

    return subprocess.Popen(
        [numbered(argument) for argument in arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=tuple(sockets.values()),
        start_new_session=True,
    )


def listen(folder, name):
    """A socket that waits in a folder, whose path may be longer than a socket's may be."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{handle}/{name}")
        listener.listen(1)
        return listener
    finally:
        os.close(handle)
