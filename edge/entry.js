// The module that workerd loads. It stands between the runtime and the wasm for one reason: when the wasm panics, its
// instance is lost, and whatever was waiting for it would wait for ever. Here every call races against that loss, so
// that a panic is a 503 within milliseconds and never a hang.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
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

const withConfig = (env) => Object.assign(Object.create(env), { EDGE_CONFIG });

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

export default class extends WorkerEntrypoint {
  async fetch(request) {
    try {
      return await guarded(() => new Inner(this.ctx, withConfig(this.env)).fetch(request));
    } catch {
      return unavailable();
    }
  }
}
