// WebSockets and server-sent events outlive the request that opened them. Every other second wasm is asked whether whoever
// opened one may still be there; if not, it is cut.
const EVERY_MS = 1500;
// How long that may take, and how soon it is asked again when there was no answer. With all of it a stream ends within five
// seconds of its session.
const PATIENCE_MS = 1000;
const AGAIN_MS = 300;

const UNKNOWN = "state_unavailable";

const soon = (promise) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(UNKNOWN), PATIENCE_MS);
    promise.catch(() => UNKNOWN).then((reason) => {
      clearTimeout(timer);
      resolve(reason);
    });
  });

// `alive` gives nothing, or the reason why the stream may not go on. That it cannot be told is one only the second time.
function keep(alive, end) {
  let active = false;
  let vain = 0;
  let timer;
  let over = false;
  const look = async () => {
    const said = active;
    active = false;
    // An instance that is lost knows of no stream.
    const reason = await soon((async () => alive(said))());
    if (over) return;
    const unsure = reason === UNKNOWN;
    vain = unsure ? vain + 1 : 0;
    if (unsure) active ||= said;
    if (reason && !(unsure && vain < 2)) end(reason);
    else timer = setTimeout(look, unsure ? AGAIN_MS : EVERY_MS);
  };
  if (alive) timer = setTimeout(look, EVERY_MS);
  return {
    acted: () => {
      active = true;
    },
    stop: () => {
      over = true;
      clearTimeout(timer);
    },
  };
}

// Codes that an endpoint may give (RFC 6455 §7.4.1).
const closable = (code) => code === 1000 || (code >= 3000 && code <= 4999);

// What may wait for somebody who does not read, in bytes.
const MOST_WAITING = 4 << 20;

// The client's end of a WebSocket to the origin. What its client sends is an act; what the origin sends is none.
export function relayed(origin, alive, over) {
  const { 0: outer, 1: inner } = new WebSocketPair();
  const close = (socket, code, reason) => {
    try {
      // A reason has 123 bytes at most; a client's may have become longer on its way through here.
      socket.close(closable(code) ? code : 1011, reason.length > 40 ? "" : reason);
    } catch {
      // It is closed.
    }
  };
  const end = (code, reason) => {
    keeping.stop();
    close(inner, code, reason);
    close(origin, code, reason);
    over();
  };
  const keeping = keep(alive, (reason) => end(4401, reason));
  const pass = (from, to, act) => {
    from.addEventListener("message", ({ data }) => {
      act?.();
      try {
        to.send(data);
        if (to.bufferedAmount > MOST_WAITING) end(4408, "too slow");
      } catch {
        end(1011, "");
      }
    });
    from.addEventListener("close", ({ code, reason }) => end(code === 1005 ? 1000 : code, reason));
    from.addEventListener("error", () => end(1011, ""));
  };
  pass(inner, origin, keeping.acted);
  pass(origin, inner);
  // Otherwise a binary message is a Blob, whose bytes come later than the next message.
  inner.binaryType = origin.binaryType = "arraybuffer";
  inner.accept();
  origin.accept();
  return outer;
}

// Events, as long as the session lasts.
export function cut(body, alive, over) {
  const { readable, writable } = new IdentityTransformStream();
  const stopped = new AbortController();
  const keeping = keep(alive, (reason) => stopped.abort(new Error(reason)));
  body
    .pipeTo(writable, { signal: stopped.signal })
    .catch(() => {})
    .finally(() => {
      keeping.stop();
      over();
    });
  return readable;
}
