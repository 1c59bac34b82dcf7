// The module that workerd loads. It stands between the runtime and the wasm for one reason: when the wasm panics, its
// instance is lost, and whatever was waiting for it would wait for ever. Here every call races against that loss, so
// that a panic is a 503 within milliseconds and never a hang.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import Worker, * as wasm from "./index.js";
import { carry, headOf } from "./carry.js";
import EDGE_CONFIG from "./edge.toml";

const state = globalThis.__worker_init_state;
const settled = Promise.resolve();
const waiting = new Set();

function rejectAllWaiting() {
  const lost = [...waiting];
  waiting.clear();
  for (const reject of lost) reject(new Error("the wasm instance is lost"));
}

// A loss is noted by wasm when it panics, and by `noteLoss` when it traps without. The next instance is made at once, so
// that nothing left over from the old one is the first to enter it.
let criticalError = state.criticalError;
Object.defineProperty(state, "criticalError", {
  get: () => criticalError,
  set(value) {
    criticalError = value;
    if (!value) return;
    rejectAllWaiting();
    settled.then(alive(() => {}));
  },
});

// A new instance says so. Should nobody have noted why, whoever waited for the old one is told now.
let instanceId = state.instanceId;
Object.defineProperty(state, "instanceId", {
  get: () => instanceId,
  set(value) {
    instanceId = value;
    rejectAllWaiting();
  },
});

function noteLoss(error) {
  if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) state.criticalError = true;
}

function guarded(promise) {
  return new Promise((resolve, reject) => {
    waiting.add(reject);
    const settle = (done) => (value) => {
      waiting.delete(reject);
      done(value);
    };
    promise.then(settle(resolve), settle(reject));
  });
}

// Wasm's tasks run as microtasks. The runtime's own `queueMicrotask` costs as much as all of a request's cryptography;
// a reaction of a settled promise is the same and costs nothing. A trap in a task is the loss of the instance.
const runs = new WeakMap();
globalThis.queueMicrotask = (task) => {
  let run = runs.get(task);
  if (!run) {
    run = () => {
      try {
        task();
      } catch (error) {
        noteLoss(error);
        reportError(error);
      }
    };
    runs.set(task, run);
  }
  settled.then(run);
};

// One per isolate and not one per request.
const configured = new WeakMap();

function withConfig(env) {
  let wrapped = configured.get(env);
  if (!wrapped) {
    wrapped = Object.assign(Object.create(env), { EDGE_CONFIG });
    configured.set(env, wrapped);
  }
  return wrapped;
}

function unavailable(error) {
  // Whatever comes this far was not foreseen, and the caller is told nothing of it.
  console.error("not answered:", String(error));
  const request_id = crypto.randomUUID();
  const problem = {
    type: "urn:margrave:error:state_unavailable",
    title: "The state needed to decide is not available. Try again shortly.",
    status: 503,
    code: "state_unavailable",
    request_id,
  };
  const headers = {
    "content-type": "application/problem+json",
    "retry-after": "1",
    "cache-control": "no-store",
    "margrave-request-id": request_id,
  };
  return new Response(JSON.stringify(problem), { status: 503, headers });
}

function guardedObject(name) {
  return class extends DurableObject {
    #inner;
    constructor(context, env) {
      super(context, env);
      this.#inner = new wasm[name](context, withConfig(env));
    }
    async fetch(request) {
      try {
        return await guarded(this.#inner.fetch(request));
      } catch (error) {
        noteLoss(error);
        return unavailable(error);
      }
    }
  };
}

export const AccountObject = guardedObject("AccountObject");
export const LimiterObject = guardedObject("LimiterObject");
export const FeedObject = guardedObject("FeedObject");

// Wasm's functions hang on the prototype that the build makes. Their glue writes a text argument into wasm's memory
// before it notices that the instance is lost and makes a new one, which would then read, and free, at an address of the
// old one's. `ready` has no argument: after it the instance lives, and the build's wrappers need not make another.
function alive(rule) {
  return (...values) => {
    Worker.prototype.ready();
    if (criticalError) state.criticalError = false;
    try {
      return rule(...values);
    } catch (error) {
      noteLoss(error);
      throw error;
    }
  };
}
const judge = alive(Worker.prototype.judge);
const watched = alive(Worker.prototype.watched);
const rules = {
  answer_headers: alive(Worker.prototype.answer_headers),
  instead: alive(Worker.prototype.instead),
  told_why: alive(Worker.prototype.told_why),
  unwatch: alive(Worker.prototype.unwatch),
  watched: (id, active) => guarded(watched(id, active)),
};
const serveState = alive(Worker.prototype.serve_state);
let withPeer;

// Where several gates share one process's objects, that process listens here and nowhere else.
export class State extends WorkerEntrypoint {
  async fetch(request) {
    try {
      const answered = guarded(serveState(request, withConfig(this.env)));
      // A gate that gives up would take with it what the future in wasm waits for, and the future would stay.
      this.ctx.waitUntil(answered.catch(() => {}));
      return await answered;
    } catch (error) {
      noteLoss(error);
      return unavailable(error);
    }
  }
}

export default {
  async fetch(request, env, ctx) {
    try {
      const configured = withConfig(env);
      withPeer ??= Worker.prototype.wants_peer(configured);
      let decision = judge(headOf(request, withPeer), request, configured, ctx);
      if (decision instanceof Promise) {
        const waited = guarded(decision);
        // A client that goes away would take with it what the future in wasm waits for, and the future would stay.
        ctx.waitUntil(waited.catch(() => {}));
        decision = await waited;
      }
      if (typeof decision !== "string") return decision;
      return await carry(decision, request, env, rules);
    } catch (error) {
      noteLoss(error);
      return unavailable(error);
    }
  },
};
