"""Tools that are built from the workspace beside `spore`: examples of its crates."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def build(package, name, *options):
    """The path of an example; the variable of its name in capitals gives one that is built already."""
    program = os.environ.get(name.upper())
    if program:
        return Path(program).absolute()
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", package, "--example", name, *options]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return REPOSITORY / "target" / "release" / "examples" / name
