// The same vectors as the Rust crate's, and the middleware in a real server. `node --test deploy/origin/node/test.mjs`
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { test } from "node:test";
import { guard, judgeWith } from "./index.js";

const { keys, cases } = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url)));

const distinct = (pairs) => {
  const headers = {};
  for (const [name, value] of pairs) (headers[name] ??= []).push(value);
  return headers;
};

for (const { name, now_s, method, url, headers, caller } of cases) {
  test(name, () => {
    const judge = judgeWith({ keys, now: () => now_s * 1000 });
    const said = judge({ method, url, headers: distinct(headers) });
    assert.deepEqual(said && { subject: said.subject, permissions: said.permissions }, caller);
    // Whatever it was, it is nothing the second time.
    assert.equal(judge({ method, url, headers: distinct(headers) }), null);
  });
}

test("keys that are none are refused", () => {
  for (const bad of [[], ["x"], ["a:short"], [`a b:${"A".repeat(43)}`], [`a:${"A".repeat(42)}B`], [keys[0], keys[0]], undefined]) {
    assert.throws(() => judgeWith({ keys: bad }), TypeError);
  }
});

test("the middleware passes what is signed once, and tells strangers nothing", async () => {
  const good = cases.find(({ caller, url }) => caller && url.includes("?"));
  const pass = guard({ keys, now: () => good.now_s * 1000 });
  const server = createServer((req, res) => pass(req, res, () => res.end(req.margrave.subject)));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const ask = (headers) =>
    new Promise((resolve, reject) => {
      const { port } = server.address();
      const options = { port, host: "127.0.0.1", method: good.method, path: good.url, headers, agent: false };
      const req = request(options, (res) => {
        let body = "";
        res.on("data", (chunk) => (body += chunk)).on("end", () => resolve([res.statusCode, body]));
      });
      req.on("error", reject).end();
    });
  const headers = Object.fromEntries(good.headers);
  assert.deepEqual(await ask(headers), [200, good.caller.subject]);
  assert.equal((await ask(headers))[0], 403);
  assert.equal((await ask({ host: headers.host }))[0], 403);
  // What no middleware sees shares its memory: the same request is nothing to it either.
  const headersDistinct = distinct(good.headers);
  assert.equal(pass.judge({ method: good.method, url: good.url, headersDistinct }), null);
  const other = guard({ keys, now: () => good.now_s * 1000 });
  assert.equal(other.judge({ method: good.method, url: good.url, headersDistinct }).subject, good.caller.subject);
  assert.equal(other.judge({ method: good.method, url: good.url }), null);
  server.close();
});
