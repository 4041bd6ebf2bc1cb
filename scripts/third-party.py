#!/usr/bin/env python3
"""Prints what is linked into `spore` and its agent, with the licence of each and its text: their licences ask for it.

Everything comes from cargo's own metadata and the sources that it has fetched. Equal sources give equal output.
"""

import json
import pathlib
import subprocess

TARGET = "x86_64-unknown-linux-gnu"
ROOTS = ("spore", "agent")
TEXTS = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(found):
    """The packages that the roots lead to by dependencies that are neither of builds nor of tests."""
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    todo = [one["id"] for one in found["packages"] if one["name"] in ROOTS and one["source"] is None]
    seen = set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for dependency in nodes[one]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    foreign = (packages[one] for one in seen if packages[one]["source"] is not None)
    return sorted(foreign, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = (path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(TEXTS))
    for path in sorted(files):
        yield path.name, path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    packages = linked(metadata())
    print("Linked into spore and the agent that it starts in guests, besides Rust's standard library (MIT OR Apache-2.0):\n")
    # Most have the same texts: each is printed once.
    numbers = {}
    for package in packages:
        shown = []
        for _, text in texts(package):
            shown.append(str(numbers.setdefault(text, len(numbers) + 1)))
        note = f", texts {', '.join(shown)}" if shown else ""
        print(f"{package['name']} {package['version']}: {package['license']}{note}")
        print(f"  https://crates.io/crates/{package['name']}")
    for text, number in numbers.items():
        print(f"\n--- text {number} ---\n\n{text}")


main()
