"""What processes cost, read from the kernel.

CPU time of a process that still runs is read from its CPU clock (clock_getcpuclockid(3)): nanoseconds of all its
threads, ended ones too. /proc/PID/stat counts in steps of 10 ms, as much as a whole supervisor uses. CPU time of
a process that has ended is what wait4(2) says, with what its own waited-for children used.
"""

import os
import signal
import time
from pathlib import Path


def cpu_seconds(pid):
    """CPU seconds, user and system, of a running process."""
    scheduler_clock = 2
    return time.clock_gettime((~pid << 3) | scheduler_clock)


def status_bytes(pid, field):
    """A size in /proc/PID/status, such as RssAnon; 0 once the process has ended."""
    return _sizes(Path(f"/proc/{pid}/status")).get(field, 0)


def private_bytes(pid):
    """What a process alone needs: memory that goes when it ends. `Private_Clean` is left out: page cache that
    happens to have one user."""
    sizes = _sizes(Path(f"/proc/{pid}/smaps_rollup"))
    return {"anonymous": sizes["Anonymous"], "private_dirty": sizes["Private_Dirty"]}


def _sizes(path):
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs}


def parents():
    """The parent of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                # The name, in parentheses, may hold anything.
                found[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def descendants(pid):
    """The processes below `pid`, as they are now."""
    children = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found, rest = [], [pid]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def started_in(folder):
    """The engines and supervisors whose working directory is in `folder`; a shell that stands there is not ours."""
    found = []
    for pid in parents():
        try:
            place = Path(os.readlink(f"/proc/{pid}/cwd"))
            program = Path(os.readlink(f"/proc/{pid}/exe")).name
        except OSError:
            continue
        if place.is_relative_to(folder) and program.startswith(("qemu-system-", "spore")):
            found.append(pid)
    return found


def end(pids):
    """Kills processes and waits for them, whoever their parent is."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for pid in pids:
        _gone(pid)


def _gone(pid, seconds=10):
    """Waits until a killed process is no more, or only its own parent has to take note."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.005)
    raise TimeoutError(f"process {pid} did not end")
