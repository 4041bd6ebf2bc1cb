// Run once, before the machine is frozen. What is loaded and used here is in every fork's memory already; names
// declared here are there for `spore eval`.
const assert = require("assert");
const child_process = require("child_process");
const crypto = require("crypto");
const events = require("events");
const fs = require("fs");
const http = require("http");
const https = require("https");
const net = require("net");
const os = require("os");
const path = require("path");
const readline = require("readline");
const stream = require("stream");
const url = require("url");
const util = require("util");
const zlib = require("zlib");

// The first use of each of these compiles code or fills a cache: files, compression, hashes, a client and its server, a
// process, what shows values and errors.
await fs.promises.readFile("/etc/os-release", "utf8");
zlib.gunzipSync(zlib.gzipSync("warm"));
crypto.createHash("sha256").update("warm").digest("hex");
crypto.randomUUID();
await new Promise((resolve, reject) => {
  const server = http.createServer((_request, response) => response.end("warm"));
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    http.get({ host: "127.0.0.1", port, agent: false }, (response) => {
      response.resume().on("end", () => server.close(resolve));
    }).on("error", reject);
  });
});
await util.promisify(child_process.execFile)("/bin/true");
await stream.promises.pipeline(stream.Readable.from(["warm"]), async (source) => source.toArray());
util.inspect({ map: new Map([[1, new Set([2])]]), date: new Date(0), error: new Error("warm"), buffer: Buffer.alloc(2) });
JSON.parse(JSON.stringify({ a: [1, "b", null] }));
