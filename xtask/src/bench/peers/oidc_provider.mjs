// The peer for token issuing: oidc-provider, client_credentials, EdDSA JWT access tokens, everything in memory.
import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const [port] = process.argv.slice(2);
const key = { ...generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }), alg: "EdDSA", use: "sig", kid: "bench" };
const audience = "urn:margrave:bench";
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  clients: [
    {
      client_id: "bench",
      client_secret: "bench-secret-bench-secret-bench-secret",
      grant_types: ["client_credentials"],
      id_token_signed_response_alg: "EdDSA",
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "read write",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: 300,
        jwt: { sign: { alg: "EdDSA" } },
      }),
    },
  },
});
provider.listen(+port, "127.0.0.1");
