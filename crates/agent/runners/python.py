"""Runner for Python 3.9 and later: evaluates code for the agent in one persistent namespace.

Usage: python3 python.py [WARMUP_FILE], with SPORE_RUNNER_FD naming a connected socket. The protocol is
in docs/agent-protocol.md, "Runners". Only the standard library's minimal part is used.
"""

import _thread
import ast
import io
import json
import os
import signal
import socket
import sys
import traceback

# The agent takes messages of 256 KiB; a character takes at most 12 bytes of JSON.
CHUNK = 16 * 1024
NAME = "<eval>"


class Interrupts:
    """SIGINT ends running code, and nothing else: one that comes late must not end the runner, and one that
    comes while a message is being sent must not cut it in two."""

    def __init__(self):
        self.running = False
        self.held = False
        self.came = False
        signal.signal(signal.SIGINT, self.handle)

    def handle(self, _number, _frame):
        if self.running and self.held:
            self.came = True
        elif self.running:
            raise KeyboardInterrupt

    def release(self):
        """Ends a time of holding; what came meanwhile takes effect."""
        self.held = False
        if self.came:
            self.came = False
            self.handle(signal.SIGINT, None)


class Channel:
    """Messages to and from the agent."""

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        self.socket = socket.socket(fileno=fd)
        self.reader = self.socket.makefile("rb")
        self.interrupts = Interrupts()
        self.lock = _thread.allocate_lock()
        self.main = _thread.get_ident()

    def send(self, **message):
        payload = json.dumps(message).encode("ascii")
        frame = len(payload).to_bytes(4, "little") + payload
        # Signals are handled in the main thread only.
        if _thread.get_ident() != self.main:
            with self.lock:
                self.socket.sendall(frame)
            return
        self.interrupts.held = True
        try:
            with self.lock:
                self.socket.sendall(frame)
        finally:
            self.interrupts.release()

    def receive(self):
        """The next message; None when the agent is gone."""
        header = self.reader.read(4)
        if len(header) < 4:
            return None
        return json.loads(self.reader.read(int.from_bytes(header, "little")))


class Output(io.TextIOBase):
    """A text stream whose writes become messages at once."""

    def __init__(self, channel, name, fallback):
        self.channel, self.stream, self.fallback = channel, name, fallback
        self.eval_id = None
        self.owner = os.getpid()
        self.buffer = Bytes(self)

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self):
        return True

    def fileno(self):
        return self.fallback.fileno()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        # Between evaluations, and in a process forked by the code, nobody reads but the log.
        if self.eval_id is None or os.getpid() != self.owner:
            self.fallback.write(text)
            self.fallback.flush()
            return len(text)
        eval_id = self.eval_id
        for start in range(0, len(text), CHUNK):
            # JSON has no form for half of a surrogate pair.
            data = text[start : start + CHUNK].encode("utf-8", "backslashreplace").decode("utf-8")
            self.channel.send(type="output", id=eval_id, stream=self.stream, data=data)
        return len(text)


class Bytes(io.RawIOBase):
    """What code expects as sys.stdout.buffer. Bytes that are no UTF-8 are shown escaped."""

    def __init__(self, text):
        self.text = text

    def writable(self):
        return True

    def write(self, data):
        self.text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)


def run(code, namespace):
    """Runs statements; the value of a last expression, or None."""
    tree = ast.parse(code, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NAME, "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), NAME, "eval"), namespace)


def remember_source(code):
    """Lets tracebacks show the lines of evaluated code, if tracebacks can be shown with lines at all."""
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        linecache.cache[NAME] = (len(code), None, code.splitlines(True), NAME)


def show_error(error, stderr):
    """Prints a traceback that begins in the evaluated code."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != NAME:
        frames = frames.tb_next
    stderr.write("".join(traceback.format_exception(type(error), error, frames)))


def evaluate(message, namespace, outputs, interrupts):
    """Whether the code of an eval message ended well."""
    for output in outputs:
        output.eval_id = message["id"]
    stdout, stderr = outputs
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = outputs
    ok = False
    try:
        remember_source(message["code"])
        try:
            interrupts.running = True
            value = run(message["code"], namespace)
            text = None if value is None else repr(value) + "\n"
            if text is not None:
                stdout.write(text)
        finally:
            # Inside of what catches errors: an interruption that comes just before is one of the code's.
            interrupts.running = False
        ok = True
    except SystemExit as error:
        ok = error.code is None or error.code == 0
        if not ok:
            stderr.write("SystemExit: %s\n" % (error.code,))
    except BaseException as error:
        interrupts.running = False
        show_error(error, stderr)
    finally:
        interrupts.running = False
        sys.stdout, sys.stderr = saved
        for output in outputs:
            output.eval_id = None
    return ok


def reseed(seed):
    """Seeds the generators that code has imported, or will import."""
    import random

    random.seed(seed)
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        # OpenSSL would take up to an hour to draw on the kernel again: all forks would draw the same keys until then.
        ssl.RAND_add(seed, 0.0)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed([int.from_bytes(seed[at : at + 4], "little") for at in range(0, len(seed), 4)])


def rehearse():
    """Does once what each fork does first, so that its code and files are in the memory that is frozen."""
    reseed(os.urandom(64))
    remember_source("[0.0]")
    repr(run("[0.0]", {"__builtins__": __builtins__}))


def serve(channel, namespace):
    """Answers the agent until it is gone."""
    outputs = [Output(channel, "stdout", sys.stdout), Output(channel, "stderr", sys.stderr)]
    owner = os.getpid()
    rehearse()
    channel.send(type="ready")
    while True:
        message = channel.receive()
        if message is None:
            return
        if message["type"] == "eval":
            ok = evaluate(message, namespace, outputs, channel.interrupts)
            if os.getpid() != owner:
                os._exit(0 if ok else 1)  # The code has forked, and this is not the runner.
            channel.send(type="done", id=message["id"], ok=ok)
        elif message["type"] == "reseed":
            reseed(bytes.fromhex(message["seed"]))
            channel.send(type="reseeded")


def main(arguments):
    channel = Channel(int(os.environ.pop("SPORE_RUNNER_FD")))
    namespace = {"__name__": "__main__", "__builtins__": __builtins__}
    for path in arguments[:1]:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), namespace)
    serve(channel, namespace)


if __name__ == "__main__":
    main(sys.argv[1:])
