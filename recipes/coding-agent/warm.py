"""Run once, before the machine is frozen. Runs a project of its own through git and pytest, so that what the first
run in a fork needs is in memory, and leaves `test(*arguments)` for `spore eval`."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback

import pytest

PROJECT = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "test_calc.py": """
import pytest
from calc import add

@pytest.fixture
def one():
    return 1

@pytest.mark.parametrize("other", [1, 2])
def test_add(one, other, tmp_path, capsys, monkeypatch):
    print(tmp_path)
    assert add(one, other) == 1 + other

def test_wrong():
    assert add([1], [2]) == [1, 3]
""",
}


def test(*arguments, cwd="/work"):
    """Runs pytest in a fork of this process, which has imported it already: what a project imports stays there.
    Prints what pytest prints, and gives its exit status."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _run(arguments, cwd, write)
    os.close(write)
    try:
        with open(read, encoding="utf-8", errors="replace") as output:
            for line in output:
                sys.stdout.write(line)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _run(arguments, cwd, output):
    """Runs pytest with its output there, and ends the process."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        # As a process of its own would have it.
        random.seed()
        os.chdir(cwd)
        sys.path.insert(0, cwd)
        status = int(pytest.main(list(arguments)))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _rehearse():
    with tempfile.TemporaryDirectory() as folder:
        for name, content in PROJECT.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(content)

        def run(*command):
            return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode

        run("git", "init", "--quiet")
        run("git", "add", ".")
        if run("git", "commit", "--quiet", "-m", "All of it") != 0:
            raise RuntimeError("git cannot commit")
        for command in ("git diff HEAD", "git log --stat", "git status", "rg def .", "patch --version", "tar -c ."):
            run(*command.split())
        for status in (run("pytest", "-q"), test("-q", cwd=folder)):
            if status != pytest.ExitCode.TESTS_FAILED:
                raise RuntimeError(f"pytest ended with {status}: one test of its own is to fail")


os.mkdir("/work")
os.chdir("/work")
_rehearse()
