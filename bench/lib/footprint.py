"""The most memory that a running command needed, by looking again and again."""

import os
import select
from pathlib import Path

from . import processes

# Seconds between looks: a buffer of megabytes is not filled and freed in less.
INTERVAL = 0.01


class Watch:
    """Follows a command and what it starts, but for QEMU, whose memory is the guest's.

    `peaks` holds, for each program, the most RssAnon that one process of it had, in bytes; the command itself is
    `command`, and what it started of the same executable (supervisors) `spore`.
    """

    def __init__(self, program):
        self.program = os.fspath(program)
        self.peaks = {}

    def __call__(self, process):
        ended = select.poll()
        handle = os.pidfd_open(process.pid)
        ended.register(handle, select.POLLIN)
        below, looks = [], 0
        while not ended.poll(INTERVAL * 1000):
            # Looking at all processes costs more than looking at one.
            if looks % 5 == 0:
                below = processes.descendants(process.pid)
            looks += 1
            self._note("command", process.pid)
            for pid in below:
                self._note(self._name(pid), pid)
        os.close(handle)

    def _name(self, pid):
        try:
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return "qemu"
        return "spore" if program == self.program else Path(program).name

    def _note(self, name, pid):
        if not name.startswith("qemu"):
            self.peaks[name] = max(self.peaks.get(name, 0), processes.status_bytes(pid, "RssAnon"))
