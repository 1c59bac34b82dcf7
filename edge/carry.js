// What carries a judged request to the origin and its answer back. Wasm decides, this only does what it says: every
// crossing between the two costs about as much as hashing a kilobyte, so a message's head crosses as one text of lines
// (neither header names nor values can hold a line feed), and the origin is waited for out here.

import { cut, relayed } from "./stream.js";

const lines = (headers) => {
  let text = "";
  for (const [name, value] of headers) text += "\n" + name + "\n" + value;
  return text;
};

// Method, URL, the peer's address where it counts, headers.
export const headOf = (request, withPeer) =>
  request.method + "\n" + request.url + "\n" + ((withPeer && request.cf?.clientIp) || "") + lines(request.headers);

const TIMEOUT = Symbol("timeout");

const within = (ms, promise) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(TIMEOUT), ms);
    const settle = (done) => (value) => {
      clearTimeout(timer);
      done(value);
    };
    promise.then(settle(resolve), settle(reject));
  });

// How many bodies are held at once: each takes at most two mebibytes while it grows.
const MOST_HELD = 16;
let held = 0;

// A body of undeclared length, held until it is complete: were it cut off while it streams, the runtime would end it as if
// it were whole. In one buffer, for a chunk may be a single byte. A text says why there is none. Who is slow is not read
// any longer, so that a place does not stay taken.
async function gathered(body, most, ms) {
  if (!body) return new Uint8Array(0);
  if (held >= MOST_HELD) return "busy";
  held += 1;
  const reader = body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => {});
  }, ms);
  try {
    let bytes = new Uint8Array(Math.min(most, 4096));
    let length = 0;
    for (;;) {
      const { done, value: chunk } = await reader.read();
      if (late) return "timeout";
      if (done) return bytes.subarray(0, length);
      const end = length + chunk.byteLength;
      if (end > most) return "too_large";
      if (end > bytes.length) {
        const larger = new Uint8Array(Math.min(most, Math.max(end, 2 * bytes.length)));
        larger.set(bytes.subarray(0, length));
        bytes = larger;
      }
      bytes.set(chunk, length);
      length = end;
    }
  } catch (error) {
    // What was read for when it was cancelled is rejected.
    if (late) return "timeout";
    throw error;
  } finally {
    clearTimeout(timer);
    held -= 1;
  }
}

// Answers that need not end. Of another type one ends by itself, and a part of it must not look whole.
const ENDLESS = /\ncontent-type\n\s*(text\/event-stream|application\/x-ndjson|multipart\/x-mixed-replace)/i;

function forget(rules, id) {
  try {
    rules.unwatch(id);
  } catch {
    // What is lost is forgotten.
  }
}

// `plan`: method, URL, time limit in ms, what applies to it, who is told why the origin refuses where others are not, its
// body's bound (`=` and its exact length, the most that is held, or nothing), the request's id, the answer's CORS headers, the
// origin's binding, headers.
// `rules`: wasm's functions.
export async function carry(plan, request, env, rules) {
  const text = plan.split("\n");
  const [method, url, timeout, flags, told, bound, id, cors, binding] = text;
  const personal = flags.includes("personal");
  const watch = flags.includes("watched");
  // The origin's redirects are the client's to follow.
  const init = { method, headers: headersOf(text, 9), redirect: "manual" };
  if (personal) init.cache = "no-store";
  let streams = false;
  try {
    if (flags.includes("body")) {
      // As it streams in, it streams out.
      init.body = request.body;
      if (bound[0] === "=") {
        // What does not keep to it does not arrive whole: the origin was told the length.
        init.body = request.body?.pipeThrough(new FixedLengthStream(+bound.slice(1)));
      } else if (bound) {
        init.body = await gathered(request.body, +bound, +timeout);
        if (typeof init.body === "string") return rules.instead(init.body, id, cors);
      }
    }
    const response = await within(+timeout, (env[binding] ?? globalThis).fetch(url, init));
    const { status, statusText } = response;
    if (status >= 400 && status < 500) {
      if (flags.includes("general")) {
        response.body?.cancel().catch(() => {});
        return rules.instead("refused", id, cors);
      }
      if (told) rules.told_why(told);
    }
    const received = lines(response.headers);
    const endless = ENDLESS.exec(received)?.[1];
    if (endless && endless[0].toLowerCase() === "t" && !flags.includes("streams")) {
      const message = "an origin sends events on a route without streams = true";
      console.warn(JSON.stringify({ level: "warn", message, request_id: id }));
      response.body?.cancel().catch(() => {});
      return rules.instead("", id, cors);
    }
    const head = rules.answer_headers(received, personal, id, cors).split("\n");
    const answered = { status, statusText, headers: headersOf(head, 1) };
    let body = response.body;
    const alive = watch && ((active) => rules.watched(id, active));
    const over = () => watch && forget(rules, id);
    if (response.webSocket) {
      answered.webSocket = relayed(response.webSocket, alive, over);
      streams = true;
    } else if (endless && body && watch) {
      body = cut(body, alive, over);
      streams = true;
    }
    const answer = new Response(body, answered);
    for (let i = 1; i < head.length; i += 2) if (head[i] === "set-cookie") answer.headers.append(head[i], head[i + 1]);
    return answer;
  } catch (error) {
    return rules.instead(error === TIMEOUT ? "timeout" : "", id, cors);
  } finally {
    if (watch && !streams) forget(rules, id);
  }
}

// All but cookies, which may be repeated. Without a prototype, so that no name is special.
function headersOf(text, from) {
  const headers = { __proto__: null };
  for (let i = from; i < text.length; i += 2) if (text[i] !== "set-cookie") headers[text[i]] = text[i + 1];
  return headers;
}
