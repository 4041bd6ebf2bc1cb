/**
 * The attendant of node.js: a thread that reads the agent's messages, and ends code that gives the main thread's event loop
 * no turn. It strikes by V8's inspector, which unwinds whatever runs, without `finally`.
 */
"use strict";

const inspector = require("inspector");
const net = require("net");
const { parentPort } = require("worker_threads");

/// How long code may take to come to a rest by itself once it is interrupted, in milliseconds.
const GRACE = 50;
/// How often what waits for the other thread looks again, in milliseconds.
const LOOK = 20;
/// How often the main thread is told that it was struck before it is struck again.
const TOLD = 50;

/// What the main thread is doing, the one number that both threads share. The attendant strikes only what is RUNNING: the
/// main thread leaves that before it does anything that must not be cut in two.
///
///    ┌──────────┐
///    ▼          │
///   IDLE ──▶ RUNNING ◀──▶ SENDING
///    ▲          │
///    │          ▼ a blow is on its way
///    │       ENDING ◀──┐
///    │          │      │ it is not heard of for a second
///    │          ▼      │
///    └────── STRUCK ───┘ it has hit; the main thread is told
const IDLE = 0;
const RUNNING = 1;
const SENDING = 2;
const ENDING = 3;
const STRUCK = 4;

/** Reads the socket, and strikes what does not heed an interruption. */
function attend({ fd, phase }) {
  const session = new inspector.Session();
  session.connectToMainThread();
  let current = null;
  let timer = null;

  /** Tells the main thread that it was struck, until it has heard. What is in its way is struck, too. */
  function tell(times) {
    if (Atomics.load(phase, 0) !== STRUCK) return;
    parentPort.postMessage({ type: "struck", id: current });
    timer = times > 0 ? setTimeout(tell, LOOK, times - 1) : setTimeout(strike, LOOK, STRUCK);
  }

  function strike(from) {
    const found = Atomics.compareExchange(phase, 0, from, ENDING);
    if (found === from) {
      session.post("Runtime.terminateExecution", () => {
        Atomics.store(phase, 0, STRUCK);
        tell(TOLD);
      });
    } else if (found === SENDING) {
      timer = setTimeout(strike, 1, from);
    }
  }

  const handlers = {
    eval(message) {
      clearTimeout(timer);
      current = message.id;
      // From here on: code that others have left behind may keep this one from its turn.
      Atomics.store(phase, 0, RUNNING);
      parentPort.postMessage(message);
    },
    interrupt(message) {
      // One that comes late concerns nobody.
      if (message.id !== current) return;
      parentPort.postMessage(message);
      if ([RUNNING, SENDING].includes(Atomics.load(phase, 0))) {
        clearTimeout(timer);
        timer = setTimeout(strike, GRACE, RUNNING);
      }
    },
    reseed(message) {
      parentPort.postMessage(message);
    },
  };

  let input = Buffer.alloc(0);
  const socket = new net.Socket({ fd, readable: true, writable: false });
  socket.on("data", (bytes) => {
    input = Buffer.concat([input, bytes]);
    while (input.length >= 4 && input.length >= 4 + input.readUInt32LE(0)) {
      const end = 4 + input.readUInt32LE(0);
      const message = JSON.parse(input.toString("utf8", 4, end));
      input = input.subarray(end);
      handlers[message.type]?.(message);
    }
  });
  const gone = () => {
    session.disconnect();
    parentPort.postMessage({ type: "gone" });
  };
  socket.on("end", gone);
  socket.on("error", gone);
}

module.exports = { attend, LOOK, phases: { IDLE, RUNNING, SENDING, STRUCK, ENDING } };
