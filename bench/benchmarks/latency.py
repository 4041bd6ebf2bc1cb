"""`spore exec ID -- true`, against the guest's own time to run it

The guest's own time is that from the request to the exit on a bare agent channel (lib/bare.py): the same guest, the same message, no
supervisor, no process on the host's side. `client` is a program that speaks to the supervisor's socket itself, `command` is the
command that a person types: it starts, finds the sandbox, connects, asks, and ends. They take turns, and
differences are of neighbours.
"""

import itertools
import time

from lib import agent, report

NAME = "latency"
# Seconds.
LIMIT = 0.010
PROGRAM = "true"
WARM_UP = 10


def run(world, section):
    """Measures all three."""
    section.commands(command=f"spore exec ID -- {PROGRAM}", bare=f'{{"exec":{{"argv":["{PROGRAM}"]}}}}, to its exit')
    bare = world.bare()
    _, (sandbox,) = world.spore.fork("bench", 1)
    (guest,) = bare.fork(1)
    # The first session was the eval that the guest was asked at its start.
    sessions = itertools.count(2)
    acts = {
        "bare": lambda: guest.agent.exec(next(sessions), PROGRAM),
        "client": lambda: through_supervisor(world.spore.root / "sandboxes" / sandbox),
        "command": lambda: world.spore.run("exec", sandbox, "--", PROGRAM),
    }
    found = {what: [] for what in acts}
    for number in range(WARM_UP + (20 if world.quick else 200)):
        for what, act in acts.items():
            began = time.perf_counter()
            act()
            # What the guest does for the first time is translated first.
            if number >= WARM_UP:
                found[what].append(time.perf_counter() - began)
    world.spore.kill_all()
    bare.end()
    rows, over = [], {}
    for what, walls in found.items():
        over[what] = [one - own for one, own in zip(walls, found["bare"])]
        rows.append([what, report.milliseconds(walls), "" if what == "bare" else report.milliseconds(over[what])])
    section.table(["what", "wall", "over the guest's own time"], rows)
    section.record(**found)
    median = report.spread(over["command"])["median"]
    section.criterion(f"spore exec ID -- {PROGRAM}, over the guest's own time", median * 1000, LIMIT * 1000, " ms", "{:.1f}")


def through_supervisor(folder):
    """One exec by a client of a supervisor's socket."""
    with agent.connect(folder, "control") as stream:
        client = agent.Agent(stream)
        client.send(greet=True)
        client.await_greeting()
        client.exec(1, PROGRAM)
