"""The agent protocol (docs/agent-protocol.md), as much of it as one identity, evals and execs need.

The same client talks to an agent, in the bare loop, and to the supervisor that stands for one.
"""

import json
import os
import socket
import struct
import time

HELLO, HELLO_REPLY, CONTROL, STDOUT, STDERR = 1, 2, 4, 6, 7
MAGIC = b"\x89SPORE-AGENT\r\n\x1a\n"
HEADER = struct.Struct("<IIB3x")
GREETING_BYTES = 64
# Seconds. A busy machine with a hundred guests is slow, a lost guest is for ever.
PATIENCE = 120


def connect(folder, name):
    """Connects to a socket in a folder whose path may be longer than a socket's may be."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(f"/proc/self/fd/{handle}/{name}")
        return stream
    finally:
        os.close(handle)


def identity(number):
    """A new identity, as Spore makes one: of the same lengths, on which depends what the guest has to do."""
    digits = os.urandom(16).hex()
    uuid = "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]))
    return {
        "identity": {
            "entropy": os.urandom(64).hex(),
            "wall_clock_ns": time.time_ns(),
            "hostname": f"bare{number:08}",
            "machine_id": os.urandom(16).hex(),
            "boot_id": uuid,
            "network": {"up": False},
            "deadline_ms": PATIENCE * 1000,
        }
    }


class Agent:
    """One connection."""

    def __init__(self, stream):
        self.stream = stream
        self.nonce = os.urandom(16)
        self.received = bytearray()

    def send(self, *requests, greet=False):
        """Sends (session, request) pairs in one write, behind a greeting if asked for."""
        out = bytearray()
        if greet:
            greeting = MAGIC + struct.pack("<I", 1) + self.nonce
            out += HEADER.pack(GREETING_BYTES, 0, HELLO) + greeting.ljust(GREETING_BYTES, b"\0")
        for session, request in requests:
            payload = json.dumps(request).encode()
            out += HEADER.pack(len(payload), session, CONTROL) + payload
        self.stream.sendall(out)

    def await_greeting(self):
        """Discards everything until the answer that carries our nonce."""
        start = HEADER.pack(GREETING_BYTES, 0, HELLO_REPLY) + MAGIC
        while True:
            at = self.received.find(start)
            end = at + HEADER.size + GREETING_BYTES
            if at >= 0 and len(self.received) >= end:
                nonce = bytes(self.received[at + len(start) + 4 : at + len(start) + 20])
                del self.received[:end]
                if nonce == self.nonce:
                    return
            else:
                self._receive()

    def next(self):
        """The next frame: session, kind, payload."""
        while True:
            if len(self.received) >= HEADER.size:
                length, session, kind = HEADER.unpack_from(self.received)
                if len(self.received) >= HEADER.size + length:
                    payload = bytes(self.received[HEADER.size : HEADER.size + length])
                    del self.received[: HEADER.size + length]
                    return session, kind, payload
            self._receive()

    def expect(self, message):
        """Waits for an answer of the agent itself."""
        while True:
            session, kind, payload = self.next()
            if session == 0 and kind == CONTROL:
                answer = json.loads(payload)
                if message not in answer:
                    raise RuntimeError(f"the agent answered {answer} instead of {message}")
                return

    def eval(self, session, code):
        """Sends code and waits for its end; gives what it wrote."""
        self.send((session, {"eval": {"code": code}}))
        return self.output(session)

    def exec(self, session, *argv):
        """Runs a program and waits for its end; gives what it wrote."""
        self.send((session, {"exec": {"argv": argv, "env": {}, "stdin": False}}))
        return self.output(session)

    def output(self, session):
        """Waits for the end of a session; gives what it wrote."""
        out = b""
        while True:
            which, kind, payload = self.next()
            if which != session:
                continue
            if kind in (STDOUT, STDERR):
                out += payload
            elif kind == CONTROL:
                answer = json.loads(payload)
                if "exit" in answer or "failed" in answer:
                    if answer != {"exit": {"code": 0}}:
                        raise RuntimeError(f"the session ended with {answer}: {out.decode(errors='replace')}")
                    return out.decode()

    def _receive(self):
        part = self.stream.recv(65536)
        if not part:
            raise ConnectionError("the connection to the agent has ended")
        self.received += part


def eval_through_supervisor(folder, code):
    """One eval by a client of a supervisor's socket, as a program that embeds Spore would do it."""
    with connect(folder, "control") as stream:
        agent = Agent(stream)
        agent.send((1, {"eval": {"code": code}}), greet=True)
        agent.await_greeting()
        return agent.output(1)
