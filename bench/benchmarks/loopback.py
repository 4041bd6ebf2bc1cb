"""pull from a registry on loopback, against curl, zstd and sync of the same frames; and four pulls at once

Both end with the frames' plain bytes in files, synced. `curl` gets each frame blob and has it decoded into a file, one after
another, as a script would; it stores and verifies nothing. `pull` also stores and syncs the blobs themselves, the kernel and
the initrd, verifies every digest and a layer's content, and gives memory the pages that it shares with layers. They take
turns; ratios are of pairs. bench/README.md says what else must be so for them to mean something.
"""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from lib import processes, report
from lib.registry import Registry
from lib.spore import run as run_command

NAME = "loopback"
PULLS = 4


def run(world, section):
    """Measures both."""
    with Registry(world.scratch("registry")) as registry:
        world.spore.run("push", "local/bench", f"{registry.host}/bench:1")
        name = f"{registry.host}/bench:1"
        script = " && ".join(
            f"curl --silent --fail http://{registry.host}/v2/bench/blobs/sha256:{blob.name} | zstd -q -d > '$OUT'/{n}"
            for n, (blob, _) in enumerate(world.spore.frame_blobs(world.snapshot))
        )
        print(f"  pull: spore pull {name}")
        print(f"  curl: sh -c \"{script.replace(chr(39), '')}; sync\"")
        ours, peers = [], []
        for _ in range(2 if world.quick else 9):
            out = world.scratch("out")
            command = script.replace("$OUT", str(out))
            world.have_memory()
            peers.append(run_command(["sh", "-c", f"{command}; sync"]))
            shutil.rmtree(out)
            pulled = world.scratch_root("pulled")
            world.have_memory()
            ours.append(pulled.run("pull", name))
        rows = []
        for what, ended in (("curl | zstd -d; sync", peers), ("pull", ours)):
            rows.append([what, *(report.seconds([getattr(one, kind) for one in ended]) for kind in ("wall", "cpu"))])
        section.table(["what", "wall", "CPU"], rows)
        ratio = report.ratio([one.wall for one in ours], [one.wall for one in peers])
        section.record(pull=[one.costs() for one in ours], curl=[one.costs() for one in peers], ratio=ratio)
        section.criterion("pull, to curl, zstd and sync", ratio["median"], 1.1)
        peak = pulls_at_once(world, name)
        section.record(anonymous_of_all=peak)
        section.criterion(f"RssAnon of {PULLS} pulls at once, all together", peak / 1e6, 300, " MB", "{:.1f}")


def pulls_at_once(world, name):
    """The most RssAnon that some pulls into roots of their own have at a time, together."""
    running = {}
    watched = lambda number: lambda process: running.setdefault(number, process.pid)
    peak = 0
    with ThreadPoolExecutor(PULLS) as pool:
        roots = [world.scratch_root(f"pulled-{number}") for number in range(PULLS)]
        pulls = [pool.submit(root.run, "pull", name, watch=watched(n)) for n, root in enumerate(roots)]
        while not all(pull.done() for pull in pulls):
            sizes = [processes.status_bytes(pid, "RssAnon") for pid in list(running.values())]
            peak = max(peak, sum(sizes))
            time.sleep(0.005)
        for pull in pulls:
            pull.result()
    return peak
