/**
 * Runner for Node.js 18 and later: evaluates code for the agent in one global scope.
 *
 * Usage: node --no-force-async-hooks-checks node.js [WARMUP_FILE], with SPORE_RUNNER_FD naming a connected socket and
 * reseed.node beside this file. The protocol is in docs/agent-protocol.md, "Runners".
 *
 *   main thread                               attendant, a worker thread
 *   evaluates, writes to the socket  ◀─────── reads the socket: evaluations, seeds, interruptions
 *                                    ◀─────── ends code that gives the event loop no turn, by the inspector
 *
 * V8's inspector evaluates as a REPL does: `await` at the top, and `let` and `const` may be declared again. It is also
 * what can end running code from another thread, wherever that code is: a signal would wait for the event loop. What it
 * ends runs no `finally`, and leaves Node's bookkeeping of asynchronous calls uneven, hence the flag (and `settle`).
 */
"use strict";

const { Console } = require("console");
const crypto = require("crypto");
const fs = require("fs");
const inspector = require("inspector");
const { builtinModules, createRequire, syncBuiltinESMExports } = require("module");
const net = require("net");
const path = require("path");
const { Writable } = require("stream");
const { StringDecoder } = require("string_decoder");
const { pathToFileURL } = require("url");
const { inspect } = require("util");
const vm = require("vm");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");

/// The agent takes messages of 256 KiB; a byte takes at most six of JSON.
const CHUNK = 32 * 1024;
/// How long code may take to come to a rest by itself once it is interrupted, in milliseconds.
const GRACE = 50;
/// How often what waits for the other thread looks again, in milliseconds.
const LOOK = 20;

/// What the main thread is doing, the one number that both threads share. The attendant strikes only what is RUNNING: the
/// main thread leaves that before it does anything that must not be cut in two.
///
///   IDLE ──▶ RUNNING ◀──▶ SENDING
///    ▲ ▲───────┘ │ a blow is on its way
///    │           ▼
///    └─ STRUCK ◀─ ENDING      STRUCK: it has hit. The main thread is told until it says so, and struck again.
const IDLE = 0;
const RUNNING = 1;
const SENDING = 2;
const ENDING = 3;
const STRUCK = 4;

// --- the attendant -----------------------------------------------------------------------------------------------------

/** Reads the socket, and strikes what does not heed an interruption. */
function attend({ fd, phase }) {
  const session = new inspector.Session();
  session.connectToMainThread();
  let current = null;
  let timer = null;

  /** Until the main thread has heard that it was struck. What is in its way is struck, too. */
  function tell(times) {
    if (Atomics.load(phase, 0) !== STRUCK) return;
    parentPort.postMessage({ type: "struck" });
    timer = times > 0 ? setTimeout(tell, LOOK, times - 1) : setTimeout(strike, LOOK, STRUCK);
  }

  function strike(from) {
    const found = Atomics.compareExchange(phase, 0, from, ENDING);
    if (found === from) {
      session.post("Runtime.terminateExecution", () => {
        Atomics.store(phase, 0, STRUCK);
        tell(GRACE);
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
      clearTimeout(timer);
      timer = setTimeout(strike, GRACE, RUNNING);
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

// --- the main thread ---------------------------------------------------------------------------------------------------

function main(warmup) {
  const fd = Number(process.env.SPORE_RUNNER_FD);
  delete process.env.SPORE_RUNNER_FD;
  const phase = new Int32Array(new SharedArrayBuffer(4));
  const channel = new Channel(fd, phase);
  const outputs = [new Output(channel, "stdout", 1), new Output(channel, "stderr", 2)];
  const interpreter = new Interpreter(channel, outputs);
  replaceStreams(outputs);
  provide();
  // A signal is not how a runner like this is interrupted, and no signal may end it.
  process.on("SIGINT", () => {});

  const attendant = new Worker(__filename, { workerData: { fd, phase } });
  const handlers = {
    eval: (message) => interpreter.evaluate(message.id, message.code),
    interrupt: (message) => interpreter.interrupt(message.id),
    struck: () => interpreter.struck(),
    reseed(message) {
      reseed(Buffer.from(message.seed, "hex"));
      channel.send({ type: "reseeded" });
    },
    gone: () => interpreter.exit(0),
  };
  attendant.on("message", (message) => handlers[message.type](message));
  attendant.on("error", (error) => {
    fs.writeSync(2, `the thread that reads from the agent has failed: ${inspect(error)}\n`);
    interpreter.exit(1);
  });

  interpreter.warm(warmup, () => {
    // What each fork does first is done once before, so that its code and data are in the memory that is frozen.
    reseed(crypto.randomBytes(32));
    interpreter.run("[0.0]", "<eval>", ({ value }) => {
      inspect(value);
      channel.send({ type: "ready" });
    });
  });
}

/** Messages to the agent, none of which is ever cut in two. */
class Channel {
  constructor(fd, phase) {
    this.fd = fd;
    this.phase = phase;
  }

  /** Sends a message of an evaluation, unless that is being ended. */
  sendOutput(message) {
    if (!this.leaveRunning(SENDING)) return;
    this.send(message);
    Atomics.store(this.phase, 0, RUNNING);
  }

  send(message) {
    const payload = Buffer.from(JSON.stringify(message));
    const frame = Buffer.alloc(4 + payload.length);
    frame.writeUInt32LE(payload.length);
    payload.copy(frame, 4);
    for (let at = 0, pause = 1; at < frame.length; ) {
      try {
        at += fs.writeSync(this.fd, frame, at);
        pause = 1;
      } catch (error) {
        // The attendant's reading has made the socket one that does not block.
        if (error.code !== "EAGAIN") throw error;
        sleep(pause);
        pause = Math.min(2 * pause, LOOK);
      }
    }
  }

  /** Whether the main thread does something else from here on. If a blow is on its way, it hits here at the latest. */
  leaveRunning(to) {
    while (Atomics.load(this.phase, 0) === ENDING) sleep(LOOK);
    return Atomics.compareExchange(this.phase, 0, RUNNING, to) === RUNNING;
  }
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** A stream whose writes become messages at once. It keeps no state that a write which is ended could leave behind. */
class Output extends Writable {
  constructor(channel, name, fd) {
    super();
    Object.assign(this, { channel, name, fd, id: null, decoder: null });
  }

  write(chunk, encoding, callback) {
    if (typeof encoding === "function") [encoding, callback] = [undefined, encoding];
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
    // Between evaluations nobody reads but the log.
    if (this.id === null) fs.writeSync(this.fd, bytes);
    else for (let at = 0; at < bytes.length; at += CHUNK) this.output(bytes.subarray(at, at + CHUNK));
    if (callback) process.nextTick(callback);
    return true;
  }

  /** There is always one more evaluation. */
  end() {
    return this;
  }

  output(bytes) {
    const data = this.decoder.write(bytes);
    if (data) this.channel.sendOutput({ type: "output", id: this.id, stream: this.name, data });
  }

  begin(id) {
    this.id = id;
    this.decoder = new StringDecoder("utf8");
  }

  /** No evaluation runs any more. Half a character at its end is shown as the one that stands for such. */
  finish() {
    const data = this.decoder.end();
    if (data) this.channel.send({ type: "output", id: this.id, stream: this.name, data });
    this.id = null;
  }
}

/** What `process.exit` throws: code may end itself, and not the runner. */
class Exit extends Error {
  constructor(code) {
    super(`process.exit(${code})`);
    this.code = code;
  }
}

/** Thrown and caught, to let Node put its bookkeeping in order. */
const SETTLE = Symbol("settle");

/** Evaluates code, one piece at a time. */
class Interpreter {
  constructor(channel, outputs) {
    Object.assign(this, { channel, outputs, stderr: outputs[1], current: null, taken: undefined });
    this.session = new inspector.Session();
    this.session.connect();
    const exit = process.exit.bind(process);
    this.exit = (code) => {
      this.session.disconnect();
      exit(code);
    };
    process.exit = (code = process.exitCode) => {
      throw new Exit(Number(code ?? 0));
    };
    process.on("uncaughtException", (error) => this.uncaught(error));
    // The inspector hands values over by a number of its own: this object takes them from it.
    globalThis[SETTLE] = this;
    const name = `Object.getOwnPropertySymbols(globalThis).find((key) => key.description === "settle")`;
    this.session.post("Runtime.evaluate", { expression: `globalThis[${name}]` }, (_error, { result }) => {
      this.self = result.objectId;
    });
    delete globalThis[SETTLE];
  }

  /** Runs the warm-up file, if there is one, and goes on. */
  warm(file, then) {
    if (file === undefined) return then();
    return this.run(fs.readFileSync(file, "utf8"), file, (outcome) => {
      if (this.show(outcome, false)) return then();
      return this.exit(1);
    });
  }

  evaluate(id, code) {
    this.current = id;
    for (const output of this.outputs) output.begin(id);
    // Struck before it began: that this has happened is about to be heard.
    if (Atomics.load(this.channel.phase, 0) !== RUNNING) return;
    this.run(code, "<eval>", (outcome) => {
      // One that was given up may still come to an end.
      if (this.current === id) this.complete(outcome);
    });
  }

  complete(outcome) {
    let ok = false;
    try {
      ok = this.show(outcome, true);
    } catch (error) {
      // Objects may say how they are to be shown.
      this.showError(error);
    }
    if (this.channel.leaveRunning(IDLE)) this.finish(ok);
  }

  /** The event loop has its turn, so what runs waits for something. It is given up. */
  interrupt(id) {
    if (this.current === id && this.channel.leaveRunning(IDLE)) this.giveUp();
  }

  /** What ran was ended. */
  struck() {
    if (Atomics.compareExchange(this.channel.phase, 0, STRUCK, IDLE) !== STRUCK) return;
    if (this.current !== null) this.giveUp();
    setImmediate(() => {
      throw SETTLE;
    });
  }

  giveUp() {
    this.channel.send({ type: "output", id: this.current, stream: "stderr", data: "Interrupted\n" });
    this.finish(false);
  }

  finish(ok) {
    for (const output of this.outputs) output.finish();
    const id = this.current;
    this.current = null;
    this.channel.send({ type: "done", id, ok });
  }

  /** Errors of what runs beside the code that is evaluated: they end nothing. */
  uncaught(error) {
    if (error === SETTLE) return;
    if (error instanceof Exit && this.current !== null && this.channel.leaveRunning(IDLE)) {
      this.finish(error.code === 0);
    } else {
      this.showError(error);
    }
  }

  /** Evaluates, and hands over what came of it: a value, or what was thrown. */
  run(code, name, done) {
    const expression = `${withImports(asExpression(code))}\n//# sourceURL=${name}`;
    this.session.post("Runtime.evaluate", { expression, replMode: true, awaitPromise: true }, (error, answer) => {
      if (!error) {
        const { result, exceptionDetails } = answer;
        const value = this.take(exceptionDetails?.exception ?? result);
        done({ value, thrown: exceptionDetails, code, name });
      } else if (Atomics.load(this.channel.phase, 0) === RUNNING) {
        done({ value: new Error(`nothing will ever settle what is awaited (${error.message})`), thrown: {}, code, name });
      }
    });
  }

  /** The value that the inspector has a description of. */
  take({ objectId, unserializableValue, value }) {
    const argument = objectId ? { objectId } : unserializableValue ? { unserializableValue } : { value };
    const functionDeclaration = "function (value) { this.taken = value; }";
    this.session.post("Runtime.callFunctionOn", { functionDeclaration, objectId: this.self, arguments: [argument] });
    if (objectId) this.session.post("Runtime.releaseObject", { objectId });
    const taken = this.taken;
    this.taken = undefined;
    return taken;
  }

  /** Shows a value, or what was thrown; whether all went well. */
  show({ value, thrown, code, name }, prints) {
    if (thrown) {
      if (value instanceof Exit && value.code === 0) return true;
      this.showError(value, value instanceof SyntaxError && place(value, thrown, code, name));
      return false;
    }
    if (prints && value !== undefined) this.outputs[0].write(`${inspect(value)}\n`);
    return true;
  }

  showError(error, where) {
    const text = error instanceof Exit ? error.message : `Uncaught ${inspect(error)}`;
    this.stderr.write(`${where || ""}${withoutOwnFrames(text)}\n`);
  }
}

/** Where code cannot be understood; nothing for an error that code has met when it ran. */
function place(error, { lineNumber, columnNumber }, code, name) {
  if (lineNumber === undefined || String(error.stack).includes(`${name}:`)) return "";
  const lines = code.split("\n");
  const line = lines[lineNumber] ?? lines[lines.length - 1];
  return `${name}:${Math.min(lineNumber + 1, lines.length)}\n${line}\n${" ".repeat(Math.min(columnNumber, line.length))}^\n`;
}

/** Stack traces end where the code does. What an error has besides follows its last frame, in braces. */
function withoutOwnFrames(text) {
  const frames = /(?:\n +at .*)+/g;
  return text.replace(frames, (trace) => {
    const lines = trace.split("\n");
    const own = lines.findIndex((line) => line.includes("node:inspector") || line.includes(__filename));
    return own < 0 ? trace : lines.slice(0, own).join("\n") + (trace.endsWith(" {") ? " {" : "");
  });
}

/** An object literal is meant as one, and not as a block with a label. */
function asExpression(code) {
  return /^\s*\{/.test(code) && parses(`(${code}\n)`) ? `(${code}\n)` : code;
}

/** The inspector's code cannot `import()`: it calls `$import` instead. The parser says where the word is a call: in a
 * string or a comment nothing that is put before it matters, and a method of that name cannot be put in parentheses. */
function withImports(code) {
  const words = /(?<![\w$#])(?<!\.\s*)import(?=\s*\()/g;
  if (code.search(words) < 0 || !parses(code)) return code;
  return code.replace(words, (word, at) => {
    const [before, after] = [code.slice(0, at), code.slice(at + word.length)];
    const isCall = !parses(`${before}@${word}${after}`) && parses(`${before}($import)${after}`);
    return isCall ? "$import" : word;
  });
}

function parses(code) {
  try {
    return Boolean(new vm.Script(`async () => {${code}\n}`));
  } catch {
    return false;
  }
}

/** Gives evaluated code what a file of a program has: `require` and `import`, from the working directory. */
function provide() {
  const require = createRequire(path.join(process.cwd(), "eval.js"));
  const $import = async (specifier, options) => {
    const name = String(specifier);
    if (/^\.{0,2}\//.test(name)) return import(pathToFileURL(path.resolve(name)));
    if (name.includes(":") || builtinModules.includes(name)) return import(name, options);
    return import(pathToFileURL(require.resolve(name)));
  };
  for (const [name, value] of Object.entries({ require, $import })) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  watchStocks();
  Object.defineProperty(Math, "random", { value: random, writable: true, configurable: true });
}

function replaceStreams([stdout, stderr]) {
  for (const [name, value] of Object.entries({ stdout, stderr })) {
    Object.defineProperty(process, name, { value, configurable: true, enumerable: true });
  }
  globalThis.console = new Console({ stdout, stderr });
}

// --- random numbers ----------------------------------------------------------------------------------------------------

/// The state of `Math.random`: xoshiro128** by Blackman and Vigna (prng.di.unimi.it). V8's own generator can be given
/// no seed once it runs.
const state = new Uint32Array(4);

function next() {
  const rotated = (value, by) => (value << by) | (value >>> (32 - by));
  const result = Math.imul(rotated(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotated(state[3], 11);
  return result;
}

/// Functions that keep random numbers ready, and how many calls use up all that can be there and fetch new ones.
const STOCKS = [
  { owners: [crypto, Object.getPrototypeOf(crypto.webcrypto)], name: "randomUUID", calls: 128, used: false },
  { owners: [crypto], name: "randomInt", calls: 1024, used: false },
];

/** From here on it is known which of the stocks have been opened: to use one up takes its time. */
function watchStocks() {
  for (const stock of STOCKS) {
    for (const owner of stock.owners) {
      const original = owner[stock.name];
      owner[stock.name] = function (...args) {
        stock.used = true;
        return original.apply(this, args);
      };
    }
  }
  syncBuiltinESMExports();
}

/** Seeds `Math.random`, and lets all that OpenSSL and `crypto` have drawn in advance be forgotten. */
function reseed(seed) {
  for (let n = 0; n < state.length; n++) state[n] = seed.readUInt32LE(4 * n);
  // OpenSSL would take up to an hour to draw on the kernel again. Loading this tells it to, each time.
  process.dlopen({ exports: {} }, path.join(__dirname, "reseed.node"));
  for (const stock of STOCKS.filter(({ used }) => used)) {
    // What is drawn here is nobody's; a bound is what `randomInt` wants.
    for (let n = 0; n < stock.calls; n++) crypto[stock.name](stock.name === "randomInt" ? 2 : undefined);
    stock.used = false;
  }
}

function random() {
  return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

// -----------------------------------------------------------------------------------------------------------------------

if (isMainThread) {
  main(process.argv[2]);
} else {
  attend(workerData);
}
