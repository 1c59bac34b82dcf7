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

// A body of undeclared length, held until it is complete: were it cut off while it streams, the runtime would end it as if
// it were whole. Nothing when it is too long.
async function gathered(body, most) {
  const chunks = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.byteLength;
    if (length > most) return;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  length = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, length);
    length += chunk.byteLength;
  }
  return bytes;
}

// `plan`: method, URL, time limit in ms, "personal" or nothing, "body" or nothing, the most bytes of it or nothing, the
// request's id, the answer's CORS headers, headers.
// `rules`: wasm's functions.
export async function carry(plan, request, origin, rules) {
  const text = plan.split("\n");
  const [method, url, timeout, personal, body, most, id, cors] = text;
  // The origin's redirects are the client's to follow.
  const init = { method, headers: headersOf(text, 8), redirect: "manual" };
  if (personal) init.cache = "no-store";
  // As it streams in, it streams out.
  if (body) init.body = request.body;
  try {
    if (body && most) {
      init.body = await within(+timeout, gathered(request.body, +most));
      if (!init.body) return rules.unreachable("too_large", id, cors);
    }
    const response = await within(+timeout, origin.fetch(url, init));
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
