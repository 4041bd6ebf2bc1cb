/**
 * Code as node.js evaluates it, and what is shown of its errors. No parser but V8's is asked what code is.
 */
"use strict";

const vm = require("vm");

/// What evaluated code is called in stack traces.
const NAME = "<eval>";

/** Where code cannot be understood; nothing for an error that code has met when it ran. */
function place(error, { lineNumber, columnNumber }, code, name) {
  if (lineNumber === undefined || String(error.stack).includes(`${name}:`)) return "";
  const lines = code.split("\n");
  const line = lines[lineNumber] ?? lines[lines.length - 1];
  return `${name}:${Math.min(lineNumber + 1, lines.length)}\n${line}\n${" ".repeat(Math.min(columnNumber, line.length))}^\n`;
}

/** Stack traces end where the code does. What an error has besides follows its last frame, in braces. */
function withoutOwnFrames(text) {
  return text.replace(/(?:\n +at .*)+/g, (trace) => {
    const lines = trace.split("\n");
    const last = lines.findLastIndex((line) => line.includes(NAME));
    const inspector = lines.findIndex((line) => line.includes("node:inspector"));
    const end = last >= 0 ? last + 1 : inspector >= 0 ? inspector : lines.length;
    return end === lines.length ? trace : lines.slice(0, end).join("\n") + (trace.endsWith(" {") ? " {" : "");
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

/** What the inspector is given in place of code. */
function asEvaluated(code) {
  return withImports(asExpression(code));
}

function parses(code) {
  try {
    return Boolean(new vm.Script(`async () => {${code}\n}`));
  } catch {
    return false;
  }
}

module.exports = { NAME, asEvaluated, place, withoutOwnFrames };
