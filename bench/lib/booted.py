"""A guest that is booted, not restored, and has a second serial port that no agent knows of: the bare channel.

Ports cannot be added to a frozen machine. So the sandbox's own machine is started again from its kernel, initrd, command line, layers
and writable disk, with memory that is empty, and with that port. Its agent serves as any does, and starts what uses the port.
"""

import itertools
import re
import time

from . import agent, processes
from .bare import Qmp, Template, listen, start

# Serial port 1 is the agent's.
NUMBER = 2
PORT = f"/dev/vport0p{NUMBER}"
BLOCK = 64 << 10


class Booted:
    """It, once its agent has answered."""

    def __init__(self, spore, snapshot, name, folder, mitigations=False):
        """`mitigations`: with what Linux does about processors' faults by itself, which a bake turns off in an emulated guest."""
        template = Template(spore, snapshot, name, folder)
        guest = folder / "guest"
        template.fill(guest)
        kernel = spore.config(snapshot)["machine"]["kernel"]
        line = kernel["command_line"].replace(" mitigations=off", "") if mitigations else kernel["command_line"]
        arguments = [*map(with_port, template.arguments), *boot(spore, kernel, line)]
        # It is started stopped, with a state to come.
        del arguments[arguments.index("-incoming") : arguments.index("-incoming") + 2]
        names = ("qmp", "agent", "bare")
        listeners = {name: listen(guest, name) for name in names}
        with open(guest / "engine.log", "wb") as log:
            self.process = start(arguments, guest, {name: one.fileno() for name, one in listeners.items()}, log)
        for one in listeners.values():
            one.close()
        self.control = Qmp(agent.connect(guest, "qmp"))
        self.control.call("qmp_capabilities")
        self.agent = agent.Agent(agent.connect(guest, "agent"))
        self.bare = agent.connect(guest, "bare")
        self.control.call("cont")
        self.agent.send(greet=True)
        self.agent.await_greeting()
        self.sessions = itertools.count(1)

    def into(self, command, size):
        """Sends bytes to a shell command that reads the port; gives the seconds until it has ended."""
        session, began = self._start(command)
        block = bytes(BLOCK)
        for _ in range(size // BLOCK):
            self.bare.sendall(block)
        self.agent.output(session)
        return time.perf_counter() - began

    def out_of(self, command, size):
        """Takes the bytes of a shell command that writes the port; gives the seconds until it has ended."""
        session, began = self._start(command)
        came = 0
        while came < size:
            part = self.bare.recv(BLOCK)
            if not part:
                raise ConnectionError("the bare channel has ended")
            came += len(part)
        self.agent.output(session)
        return time.perf_counter() - began

    def end(self):
        """Ends it."""
        processes.end([self.process.pid])
        self.process.poll()
        for stream in (self.control.stream, self.agent.stream, self.bare):
            stream.close()

    def _start(self, command):
        session, began = next(self.sessions), time.perf_counter()
        self.agent.send((session, {"exec": {"argv": ["sh", "-c", command], "env": {}, "stdin": False}}))
        return session, began


def with_port(argument):
    """An engine's argument as it is for this machine: room for one more port, memory of its own."""
    size = re.fullmatch(r"memory-backend-file,id=(\w+),size=(\d+),.*", argument)
    if size:
        return f"memory-backend-ram,id={size[1]},size={size[2]}"
    return argument.replace("max_ports=2", f"max_ports={NUMBER + 1}")


def boot(spore, kernel, command_line):
    """What boots the kernel with that line, and the port."""
    return [
        *("-kernel", str(spore.blob(kernel["image"]))),
        *("-initrd", str(spore.blob(kernel["initrd"]))),
        *("-append", command_line),
        *("-chardev", "socket,id=bare,fd=,server=on,wait=off"),
        *("-device", f"virtserialport,id=bare-port,bus=agent.0,nr={NUMBER},chardev=bare,name=bare"),
    ]
