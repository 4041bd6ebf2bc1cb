"""Frame blobs (docs/format.md) for peers that know nothing of them: their frames are ordinary zstd frames."""

import mmap
import struct
import subprocess

INDEX_MAGIC = b"SPOREIX0"
COUNT, ENTRY = struct.Struct("<I"), struct.Struct("<II32s")


def frames(blob):
    """The frames of a blob: the compressed and the plain length of each, in order."""
    at = blob.rfind(INDEX_MAGIC) + len(INDEX_MAGIC)
    (count,) = COUNT.unpack_from(blob, at)
    at += COUNT.size
    found = [ENTRY.unpack_from(blob, at + n * ENTRY.size)[:2] for n in range(count)]
    if at + count * ENTRY.size != len(blob):
        raise RuntimeError("a blob does not end with the index of its frames")
    return found


def split(files, parts, folder):
    """Writes the frames of blobs to `parts` files that are decoded alone, each with as many plain bytes, and gives
    their paths and the plain bytes of all."""
    blobs = []
    for file in files:
        with open(file, "rb") as opened:
            blobs.append(mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ))
    indexes = [frames(blob) for blob in blobs]
    total = sum(plain for index in indexes for _, plain in index)
    paths = [folder / f"part{n}.zst" for n in range(parts)]
    outputs = [open(path, "wb") for path in paths]
    done = 0
    for blob, index in zip(blobs, indexes):
        at = 0
        for compressed, plain in index:
            outputs[done * parts // total].write(blob[at : at + compressed])
            at, done = at + compressed, done + plain
        blob.close()
    for output in outputs:
        output.close()
    return paths, total


def plain(files, path):
    """The plain bytes of blobs, one after another, in a file."""
    with open(path, "wb") as output:
        subprocess.run(["zstd", "-dcq", *files], stdout=output, check=True)
