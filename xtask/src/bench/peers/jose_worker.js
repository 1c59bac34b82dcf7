// The peer that most people would write: jose verifies the token, one header is set, the request goes on.
import { createLocalJWKSet, jwtVerify } from "jose";

let keys;

export default {
  async fetch(request, env) {
    keys ??= createLocalJWKSet(JSON.parse(env.JWKS));
    const token = (request.headers.get("authorization") ?? "").slice(7);
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: env.ISSUER,
        audience: "margrave-demo",
        typ: "at+jwt",
        algorithms: ["EdDSA"],
      });
      const url = new URL(request.url);
      const forwarded = new Request(`http://origin${url.pathname}${url.search}`, request);
      forwarded.headers.set("margrave-subject", payload.sub);
      forwarded.headers.delete("authorization");
      return env.ORIGIN.fetch(forwarded);
    } catch {
      return new Response("unauthorized", { status: 401 });
    }
  },
};
