"""A real OCI registry, Debian's docker-registry, on loopback; and a slow link to it."""

import re
import shutil
import subprocess
import time

from .examples import build

# Bytes per second and milliseconds there and back: 50 Mbit/s and 40 ms.
RATE = 6_250_000
DELAY = 40

CONFIG = """version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:0"}}
"""


class Registry:
    """docker-registry with its data in a folder, until the end of `with`."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        if not shutil.which("docker-registry"):
            raise RuntimeError("docker-registry is not installed")
        config, log = self.folder / "config.yml", self.folder / "log"
        config.write_text(CONFIG.format(folder=self.folder))
        with open(log, "wb") as output:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while not (found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"docker-registry does not listen: {log.read_text()[-2000:]}")
            time.sleep(0.01)
        self.host = found[1]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Link:
    """A link of 50 Mbit/s and 40 ms to a server, until the end of `with`: `hub::testing::proxy`. All connections share its
    rate; each byte is late by half the delay. LINK names an executable of the example `link` that is built already."""

    def __init__(self, host):
        self.host = host

    def __enter__(self):
        command = [build("hub", "link", "--features", "testing"), self.host, str(RATE), str(DELAY)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.host = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def bytes(self):
        """Bytes that have come from the server since this was asked last, heads of answers included."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())
