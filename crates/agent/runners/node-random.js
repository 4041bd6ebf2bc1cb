/**
 * Random numbers of node.js: what draws them in this process can be seeded anew, so that no two forks draw the same.
 */
"use strict";

const crypto = require("crypto");
const { syncBuiltinESMExports } = require("module");
const path = require("path");

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

function random() {
  return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

/// Functions that keep random numbers ready, and how many calls use up all that can be there and fetch new ones. A stock
/// that was opened is never empty again.
const STOCKS = [
  { owners: [crypto, Object.getPrototypeOf(crypto.webcrypto)], name: "randomUUID", calls: 128, with: [], isOpen: false },
  { owners: [crypto], name: "randomInt", calls: 1024, with: [2], isOpen: false },
];

/** Replaces `Math.random`; from here on it is known, too, which of the stocks have been opened: to use one up takes its time. */
function takeOver() {
  Object.defineProperty(Math, "random", { value: random, writable: true, configurable: true });
  for (const stock of STOCKS) {
    for (const owner of stock.owners) {
      const original = owner[stock.name];
      owner[stock.name] = function (...args) {
        stock.isOpen = true;
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
  for (const stock of STOCKS.filter(({ isOpen }) => isOpen)) {
    for (let n = 0; n < stock.calls; n++) crypto[stock.name](...stock.with);
  }
}

module.exports = { reseed, takeOver };
