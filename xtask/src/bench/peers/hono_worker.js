// The same with hono's jwk middleware.
import { Hono } from "hono";
import { jwk } from "hono/jwk";

let keys;
const app = new Hono();
app.use("*", (c, next) => {
  keys ??= JSON.parse(c.env.JWKS).keys;
  return jwk({ keys, alg: ["EdDSA"], verification: { iss: c.env.ISSUER, aud: "margrave-demo" } })(c, next);
});
app.all("*", (c) => {
  const url = new URL(c.req.url);
  const forwarded = new Request(`http://origin${url.pathname}${url.search}`, c.req.raw);
  forwarded.headers.set("margrave-subject", c.get("jwtPayload").sub);
  forwarded.headers.delete("authorization");
  return c.env.ORIGIN.fetch(forwarded);
});
export default app;
