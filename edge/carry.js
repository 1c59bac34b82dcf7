// What carries a judged request to the origin and its answer back. Wasm decides, this only does what it says: every
// crossing between the two costs about as much as hashing a kilobyte, so a message's head crosses as one text of lines
// (neither header names nor values can hold a line feed), and the origin is waited for out here.

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
// it were whole. In one buffer, for a chunk may be a single byte. A text says why there is none.
async function gathered(body, most) {
  if (held >= MOST_HELD) return "busy";
  held += 1;
  try {
    let bytes = new Uint8Array(Math.min(most, 4096));
    let length = 0;
    for await (const chunk of body ?? []) {
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
    return bytes.subarray(0, length);
  } finally {
    held -= 1;
  }
}

// `plan`: method, URL, time limit in ms, "personal" or nothing, "body" or nothing, its bound (`=` and its exact length,
// the most that is held, or nothing), the request's id, the answer's CORS headers, headers.
// `rules`: wasm's functions.
export async function carry(plan, request, origin, rules) {
  const text = plan.split("\n");
  const [method, url, timeout, personal, body, bound, id, cors] = text;
  // The origin's redirects are the client's to follow.
  const init = { method, headers: headersOf(text, 8), redirect: "manual" };
  if (personal) init.cache = "no-store";
  // As it streams in, it streams out.
  if (body) init.body = request.body;
  try {
    // One time limit for all of it.
    const response = await within(+timeout, (async () => {
      if (body && bound[0] === "=") {
        // What does not keep to it does not arrive whole: the origin was told the length.
        init.body = request.body?.pipeThrough(new FixedLengthStream(+bound.slice(1)));
      } else if (body && bound) {
        init.body = await gathered(request.body, +bound);
        if (typeof init.body === "string") return init.body;
      }
      return origin.fetch(url, init);
    })());
    if (typeof response === "string") return rules.unreachable(response, id, cors);
    const text = rules.answer_headers(lines(response.headers), !!personal, id, cors).split("\n");
    const { status, statusText } = response;
    const answer = new Response(response.body, { status, statusText, headers: headersOf(text, 1) });
    for (let i = 1; i < text.length; i += 2) if (text[i] === "set-cookie") answer.headers.append(text[i], text[i + 1]);
    return answer;
  } catch (error) {
    return rules.unreachable(error === TIMEOUT ? "timeout" : "", id, cors);
  }
}

// All but cookies, which may be repeated. Without a prototype, so that no name is special.
function headersOf(text, from) {
  const headers = { __proto__: null };
  for (let i = from; i < text.length; i += 2) if (text[i] !== "set-cookie") headers[text[i]] = text[i + 1];
  return headers;
}
