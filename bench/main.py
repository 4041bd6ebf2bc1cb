"""Runs the benchmarks: one after another, the machine to themselves, each bounded in time.

Speed is measured here and asserted nowhere: a criterion that was missed is printed and recorded, and only a
benchmark that could not be run makes the exit status 1.
"""

import argparse
import signal
import sys
import traceback

from benchmarks import bounds, footprint, fork, framing, hundred, idle, latency, link, loopback, memory, pack, phases
from benchmarks import size, throughput, transfer, unpack
from lib import report
from lib.world import World

ALL = (
    *(fork, phases, memory, idle, hundred, latency, throughput),
    *(size, pack, unpack, framing, transfer, loopback, link, footprint, bounds),
)
BENCHMARKS = {module.NAME: module for module in ALL}

# Seconds. A hundred forks take 50 on a busy machine, and `fork` makes some hundreds.
BENCHMARK_LIMIT = 1500


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Measures Spore against its peers and the machine's limits.",
        epilog="\n".join(f"  {name:10} {module.__doc__.splitlines()[0]}" for name, module in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", action="append", choices=BENCHMARKS, help="this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few repeats and small numbers: to see that it works")
    return parser.parse_args()


def too_long(*_):
    """What SIGALRM does."""
    raise TimeoutError(f"it took longer than {BENCHMARK_LIMIT} s")


def run_one(module, world, results):
    """Runs one benchmark; False if it could not be run."""
    print(f"\n== {module.NAME}: {module.__doc__.splitlines()[0]}", flush=True)
    section = report.Section(module.NAME)
    signal.alarm(BENCHMARK_LIMIT)
    try:
        module.run(world, section)
    except Exception as error:  # One that fails does not take the others with it.
        traceback.print_exc()
        section.failed(error)
        return False
    finally:
        signal.alarm(0)
        world.end_processes()
        results.add(section)
    return True


def main():
    """Runs what was asked for and writes the results; a run that is interrupted leaves the last one's."""
    options = arguments()
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [module for name, module in BENCHMARKS.items() if options.only is None or name in options.only]
    with World(options.quick) as world:
        results = report.Results(world)
        world.prepare()
        done = [run_one(module, world, results) for module in chosen]
        results.write()
    return 0 if all(done) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
