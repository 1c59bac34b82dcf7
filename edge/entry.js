// The module that workerd loads. It stands between the runtime and the wasm for one reason: when the wasm panics, its
// instance is lost, and whatever was waiting for it would wait for ever. Here every call races against that loss, so
// that a panic is a 503 within milliseconds and never a hang.
import { DurableObject } from "cloudflare:workers";
import Inner, * as wasm from "./index.js";
import EDGE_CONFIG from "./edge.toml";

const state = globalThis.__worker_init_state;
const waiting = new Set();
let criticalError = state.criticalError;
Object.defineProperty(state, "criticalError", {
  get: () => criticalError,
  set(value) {
    criticalError = value;
    if (!value) return;
    const lost = [...waiting];
    waiting.clear();
    for (const reject of lost) reject(new Error("the wasm instance is lost"));
  },
});

function guarded(call) {
  let reject;
  const lost = new Promise((_, r) => (reject = r));
  waiting.add(reject);
  return Promise.race([lost, call()]).finally(() => waiting.delete(reject));
}

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

function unavailable() {
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
        return await guarded(() => this.#inner.fetch(request));
      } catch {
        return unavailable();
      }
    }
  };
}

export const AccountObject = guardedObject("AccountObject");
export const LimiterObject = guardedObject("LimiterObject");
export const FeedObject = guardedObject("FeedObject");

export default {
  async fetch(request, env, ctx) {
    try {
      // The prototype's method and not a new entrypoint: it reads `env` and `ctx` of `this` and nothing else.
      return await guarded(() => Inner.prototype.fetch.call({ env: withConfig(env), ctx }, request));
    } catch {
      return unavailable();
    }
  },
};
