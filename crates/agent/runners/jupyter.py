"""Runner for Jupyter: evaluates code for the agent in an IPython kernel, and answers whole documents on a socket.

Usage: python3 jupyter.py [WARMUP_FILE], with SPORE_RUNNER_FD naming a connected socket, python.py beside this file, and
ipykernel and jupyter_client installed. The protocol is in docs/agent-protocol.md, "Runners".

    agent    ── eval, reseed ──▶ this process, a warm Jupyter client ── ZMQ, 127.0.0.1 ──▶ the kernel
    programs ── SOCKET ────────▶      (one request at a time)
    programs ─────────────── CONNECTION_FILE: any Jupyter client ────────────────────────▶

A program sends one request to SOCKET, a JSON object, and closes its half: `code`, and optionally `timeout` in seconds. The
answer is one JSON object: `stdout`, `stderr`, `result` (text or null), `error` (null or `name`, `value`, `traceback`),
`images` (PNG in base64), `truncated` and `timed_out`. What takes too long is interrupted; the kernel's state stays.
"""

import json
import os
import queue
import select
import signal
import socket
import sys
import time

from jupyter_client import KernelManager

import python as runner

FOLDER = "/run/jupyter"
CONNECTION_FILE = FOLDER + "/kernel.json"
SOCKET = FOLDER + "/execute.sock"

# Of the code, in bytes; as much as the agent takes.
REQUEST_MAX = 16 << 20
# Of each text in an answer, in characters, and of all images, in bytes of base64.
TEXT_MAX = 1 << 20
IMAGES_MAX = 16 << 20
TIMEOUT = 60
TIMEOUT_MAX = 24 * 3600
# How often what does not heed an interruption is interrupted, and when it is given up, in seconds.
INSIST = 1
GIVE_UP = 10
# How long a program may take to send its request or to take its answer, in seconds.
PATIENCE = 10

# What the kernel is told before anything else. `exit` would end it, and all that was warm with it.
SET_UP = """
import importlib.machinery, sys
for name in ("exit", "quit"):
    get_ipython().user_ns.pop(name, None)
loader = importlib.machinery.SourceFileLoader("spore_runner", {runner!r})
sys.modules["spore_runner"] = loader.load_module("spore_runner")
del importlib, sys, name, loader
"""


class Kernel:
    """An IPython kernel, and the one client that this process has of it."""

    def __init__(self):
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        self.manager = KernelManager(connection_file=CONNECTION_FILE)
        quiet = ["--HistoryManager.enabled=False", "--InteractiveShell.colors=NoColor"]
        # It would look once a second whether its parent is there.
        self.manager.start_kernel(extra_arguments=quiet + ["--IPKernelApp.parent_handle=0"])
        self.client = self.manager.blocking_client()
        self.client.start_channels(hb=False)
        self.client.wait_for_ready(timeout=TIMEOUT_MAX)

    def execute(self, code, handle, tick=lambda: None, silent=False):
        """Runs code, and calls `handle` with the type and content of each message of its output; `tick` is called several
        times a second, and ends the wait by raising. Whether the code ended well."""
        self.flush()
        # What comes next is no sequel to what fails: otherwise the kernel would drop it for some moments.
        options = {"silent": silent, "store_history": False, "allow_stdin": False, "stop_on_error": False}
        request = self.client.execute(code, **options)
        while True:
            message = self.next_of(request, self.client.get_iopub_msg)
            tick()
            if message is None:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            handle(kind, content)
        while (reply := self.next_of(request, self.client.get_shell_msg)) is None:
            pass
        return reply["content"]["status"] == "ok"

    def next_of(self, request, get):
        """The next message of a request, if one has come within a moment: others may use the kernel, too."""
        try:
            message = get(timeout=0.1)
        except queue.Empty:
            if not self.manager.is_alive():
                raise SystemExit("the kernel has ended")
            return None
        return message if message["parent_header"].get("msg_id") == request else None

    def flush(self):
        """Drops what one that was given up has said since, and what others were told."""
        for get in (self.client.get_iopub_msg, self.client.get_shell_msg):
            try:
                while True:
                    get(timeout=0)
            except queue.Empty:
                pass

    def interrupt(self):
        self.manager.interrupt_kernel()

    def run_quietly(self, code):
        """Runs code of our own, which is to succeed."""
        errors = []

        def handle(kind, content):
            if kind == "error":
                errors.extend(content["traceback"])

        if not self.execute(code, handle, silent=True):
            raise SystemExit("\n".join(errors))

    def reseed(self, seed):
        self.run_quietly("__import__('spore_runner').reseed(bytes.fromhex(%r))" % seed.hex())


def evaluate(kernel, channel, message):
    """Whether the code of an eval message ended well. Output goes to the agent as it comes."""

    def send(stream, text):
        for start in range(0, len(text), runner.CHUNK):
            data = text[start : start + runner.CHUNK].encode("utf-8", "backslashreplace").decode("utf-8")
            channel.send(type="output", id=message["id"], stream=stream, data=data)

    def handle(kind, content):
        if kind == "stream":
            send(content["name"], content["text"])
        elif kind in ("execute_result", "display_data"):
            send("stdout", content["data"].get("text/plain", "") + "\n")
        elif kind == "error":
            send("stderr", "\n".join(content["traceback"]) + "\n")

    return kernel.execute(message["code"], handle, Interruptions(kernel, channel, message["id"]))


class Interruptions:
    """Hands the agent's interruptions on to the kernel, which is the one to end the code. One that comes before the code
    has begun is lost there: so it is repeated."""

    def __init__(self, kernel, channel, number):
        self.kernel, self.channel, self.number = kernel, channel, number
        self.next = None

    def __call__(self):
        while self.channel.is_readable():
            message = self.channel.receive()
            if message is None:
                raise SystemExit("the agent has gone")
            if message == {"type": "interrupt", "id": self.number}:
                self.next = time.monotonic()
        if self.next is not None and time.monotonic() >= self.next:
            self.next = time.monotonic() + INSIST
            self.kernel.interrupt()


class Channel(runner.Channel):
    """Messages to and from the agent. Nothing is read before it is asked for, so that the socket says what there is."""

    def __init__(self, fd):
        super().__init__(fd)
        # Interruptions come as messages. A signal ends nothing.
        signal.signal(signal.SIGINT, lambda _number, _frame: None)

    def receive(self):
        header = self.read(4)
        return json.loads(self.read(int.from_bytes(header, "little"))) if len(header) == 4 else None

    def read(self, length):
        data = bytearray()
        while len(data) < length and (piece := self.socket.recv(length - len(data))):
            data += piece
        return data

    def is_readable(self):
        return bool(select.select([self.socket], [], [], 0)[0])


class Document:
    """What one request to the socket is answered with."""

    def __init__(self):
        self.texts = {"stdout": "", "stderr": ""}
        self.result = self.error = None
        self.images = []
        self.truncated = self.timed_out = False

    def cut(self, text, used=0):
        room = max(TEXT_MAX - used, 0)
        self.truncated |= len(text) > room
        return text[:room]

    def handle(self, kind, content):
        if kind == "stream":
            name = content["name"]
            self.texts[name] += self.cut(content["text"], len(self.texts[name]))
        elif kind == "error":
            self.error = {
                "name": content["ename"],
                "value": self.cut(content["evalue"]),
                "traceback": self.cut("\n".join(content["traceback"])),
            }
        elif kind in ("execute_result", "display_data"):
            image = content["data"].get("image/png")
            if image is not None:
                self.add_image(image.replace("\n", ""))
            elif kind == "execute_result":
                self.result = self.cut(content["data"].get("text/plain", ""))
            else:
                text = content["data"].get("text/plain", "") + "\n"
                self.texts["stdout"] += self.cut(text, len(self.texts["stdout"]))

    def add_image(self, image):
        if sum(map(len, self.images)) + len(image) > IMAGES_MAX:
            self.truncated = True
        else:
            self.images.append(image)

    def encode(self):
        names = ("result", "error", "images", "truncated", "timed_out")
        fields = {**self.texts, **{name: getattr(self, name) for name in names}}
        return json.dumps(fields).encode("ascii")


class TimeLimit:
    """Interrupts what takes too long, again and again, and gives it up in the end: it goes on, and the next one waits."""

    class Passed(Exception):
        pass

    def __init__(self, kernel, document, seconds):
        self.kernel, self.document = kernel, document
        self.next = time.monotonic() + seconds
        self.last = self.next + GIVE_UP

    def __call__(self):
        now = time.monotonic()
        if now > self.last:
            raise self.Passed
        if now > self.next:
            self.next = now + INSIST
            self.document.timed_out = True
            self.kernel.interrupt()


def answer(kernel, request):
    """The document for a request's bytes."""
    document = Document()
    try:
        request = json.loads(request)
        code, seconds = request["code"], request.get("timeout", TIMEOUT)
        if not isinstance(code, str) or not isinstance(seconds, (int, float)) or not 0 < seconds <= TIMEOUT_MAX:
            raise ValueError("expected `code` and, up to %d, `timeout`" % TIMEOUT_MAX)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        document.error = {"name": "BadRequest", "value": str(error), "traceback": ""}
        return document.encode()
    try:
        kernel.execute(code, document.handle, TimeLimit(kernel, document, seconds))
    except TimeLimit.Passed:
        value = "the code does not heed interruptions, and still runs"
        document.error = {"name": "TimeoutError", "value": value, "traceback": ""}
    return document.encode()


def listen():
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(64)
    return listener


def serve_program(kernel, connection):
    """Answers one program of the guest."""
    # It is to send what it has to say at once: others wait.
    connection.settimeout(PATIENCE)
    try:
        request = bytearray()
        while len(request) <= REQUEST_MAX and (piece := connection.recv(1 << 16)):
            request += piece
        connection.sendall(answer(kernel, bytes(request)))
    except OSError:
        # It has gone: nobody else is concerned.
        pass


def serve(channel, listener, kernel):
    """Answers the agent until it is gone, and programs in between."""
    while True:
        ready, _, _ = select.select([channel.socket, listener], [], [])
        if channel.socket not in ready:
            connection, _ = listener.accept()
            with connection:
                serve_program(kernel, connection)
            continue
        message = channel.receive()
        if message is None:
            return
        if message["type"] == "eval":
            ok = evaluate(kernel, channel, message)
            channel.send(type="done", id=message["id"], ok=ok)
        elif message["type"] == "reseed":
            seed = bytes.fromhex(message["seed"])
            runner.reseed(seed)
            kernel.reseed(seed)
            channel.send(type="reseeded")


def main(arguments):
    channel = Channel(int(os.environ.pop("SPORE_RUNNER_FD")))
    kernel = Kernel()
    kernel.run_quietly(SET_UP.format(runner=runner.__file__))
    for path in arguments[:1]:
        with open(path, encoding="utf-8") as file:
            kernel.run_quietly(file.read())
    listener = listen()
    # What each fork does first is done once before, so that its code and data are in the memory that is frozen.
    seed = os.urandom(32)
    runner.reseed(seed)
    kernel.reseed(seed)
    answer(kernel, b'{"code": "print(1); 2"}')
    channel.send(type="ready")
    serve(channel, listener, kernel)
    kernel.manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main(sys.argv[1:])
