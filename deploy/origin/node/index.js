// For a service behind Margrave's edge: believes the edge's signature (RFC 9421, hmac-sha256), refuses whatever did not come
// through it or came through before, and puts who the request is about into `request.margrave`.
//
//   import { guard } from "margrave-origin";
//   const guarded = guard({ keys: [process.env.HOP_KEY] });
//   app.use("/api", guarded);                                  // Express, Connect: request.margrave, null for nobody
//   server.on("upgrade", (request, socket, head) => {           // no middleware runs for a WebSocket
//     if (!guarded.judge(request)) return socket.destroy();
//     ...
//   });
//
// The signature covers method, authority, path, query and the ten identity headers, not the body. Routes that the edge calls
// public come unsigned: leave them out. Needs Node 18.3 or newer, and nothing else.
import { createHmac, timingSafeEqual } from "node:crypto";

const SIGNED = [
  "margrave-subject",
  "margrave-merchant",
  "margrave-account",
  "margrave-permissions",
  "margrave-user-type",
  "margrave-session",
  "margrave-cabinet",
  "margrave-actor",
  "margrave-client-address",
  "margrave-request-id",
];
const MAX_SKEW_S = 30;
const ID = "[A-Za-z0-9._-]{1,64}";
const COMPONENTS = `("@method" "@authority" "@path" "@query"${SIGNED.map((name) => ` "${name}"`).join("")})`;
const PARAMETERS = new RegExp(`^;created=([0-9]{1,15});keyid="(${ID})";nonce="(${ID})";alg="hmac-sha256"$`);
const MOST_NONCES = 1_000_000;

// Each key is "<key id>:<key>", the key 32 bytes in base64url: the one in use, and during a rotation the next.
function readKeys(texts) {
  const keys = new Map();
  for (const text of texts ?? []) {
    const [, id, key] = new RegExp(`^(${ID}):([A-Za-z0-9_-]{43})$`).exec(String(text).trim()) ?? [];
    const bytes = Buffer.from(key ?? "", "base64url");
    if (bytes.length !== 32 || bytes.toString("base64url") !== key) {
      throw new TypeError("margrave-origin: a hop key is written as <key id>:<key>, 32 bytes in base64url (43 characters)");
    }
    if (keys.has(id)) throw new TypeError("margrave-origin: two hop keys have one key id");
    keys.set(id, bytes);
  }
  if (keys.size === 0) throw new TypeError("margrave-origin: at least one hop key is needed");
  return keys;
}

// The nonces of the last minute or two, in two generations. Each process remembers for itself.
class Nonces {
  #young = new Set();
  #old = new Set();
  #turnedAt = 0;

  remember(nonce, nowS) {
    if (nowS - this.#turnedAt > 60 || this.#young.size >= MOST_NONCES) {
      this.#old = this.#young;
      this.#young = new Set();
      this.#turnedAt = nowS;
    }
    if (this.#old.has(nonce) || this.#young.has(nonce)) return false;
    // A copy: a part of a text keeps the whole of it.
    this.#young.add(Buffer.from(nonce, "latin1").toString("latin1"));
    return true;
  }
}

// Gives `judge`: of `{ method, url, headers }`, where each header name has the list of its values
// (`request.headersDistinct`), who it is about; or null.
export function judgeWith({ keys, now = Date.now }) {
  const known = readKeys(keys);
  const nonces = new Nonces();
  return ({ method, url, headers }) => {
    const single = (name) => (headers?.[name]?.length === 1 ? headers[name][0] : undefined);
    const values = SIGNED.map(single);
    const [host, input, signature] = ["host", "signature-input", "signature"].map(single);
    if ([...values, host, input, signature].includes(undefined)) return null;

    const start = `margrave=${COMPONENTS}`;
    const parameters = input.startsWith(start) && PARAMETERS.exec(input.slice(start.length));
    const bytes = /^margrave=:([A-Za-z0-9+/]{43}=):$/.exec(signature)?.[1];
    if (!parameters || !bytes) return null;
    const [text, created, id, nonce] = parameters;
    const nowS = Math.floor(now() / 1000);
    const key = known.get(id);
    if (!key || Math.abs(nowS - Number(created)) > MAX_SKEW_S) return null;

    const mark = url.indexOf("?");
    const [path, query] = mark < 0 ? [url, ""] : [url.slice(0, mark), url.slice(mark + 1)];
    const lines = [`"@method": ${method}`, `"@authority": ${host.toLowerCase()}`, `"@path": ${path}`, `"@query": ?${query}`];
    SIGNED.forEach((name, i) => lines.push(`"${name}": ${values[i]}`));
    lines.push(`"@signature-params": ${COMPONENTS}${text}`);
    // Node gives header values one character for each byte.
    const tag = createHmac("sha256", key).update(Buffer.from(lines.join("\n"), "latin1")).digest();
    const given = Buffer.from(bytes, "base64");
    if (given.toString("base64") !== bytes || !timingSafeEqual(tag, given)) return null;
    if (!nonces.remember(nonce, nowS)) return null;

    const [subject, merchant, account, permissions, userType, session, cabinet, actor, clientAddress, requestId] = values;
    return {
      subject,
      merchant,
      account,
      permissions: permissions.split(" ").filter(Boolean),
      userType,
      session,
      cabinet,
      actor,
      clientAddress,
      requestId,
    };
  };
}

const REFUSAL = JSON.stringify({
  type: "about:blank",
  title: "Forbidden",
  status: 403,
  detail: "This service answers to its edge only.",
});

// The middleware; its `judge(request)` is for what no middleware sees. HTTP/1.1 only, which is what the edge speaks.
export function guard(options) {
  const judge = judgeWith(options);
  // Express shortens `url` where a middleware is mounted; what was signed is the whole of it.
  const ofRequest = (request) =>
    judge({ method: request.method, url: request.originalUrl ?? request.url, headers: request.headersDistinct });
  const middleware = (request, response, next) => {
    const caller = ofRequest(request);
    if (!caller) {
      response.writeHead(403, { "content-type": "application/problem+json" });
      response.end(REFUSAL);
      return;
    }
    // On a route with `auth = "optional"` the edge vouches for nobody.
    request.margrave = caller.subject === "" ? null : caller;
    next();
  };
  return Object.assign(middleware, { judge: ofRequest });
}
