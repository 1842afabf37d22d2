// npm oidc-provider with its development pages: anybody signs in as the name that they type.
// node provider.mjs MODULES; standard input: one line of JSON, then it lives until the input ends.
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2] + "/");
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  const { redirect, secret, alg, fat, method } = JSON.parse(line);
  const { privateKey } = alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: "1" };
  const server = createServer();
  server.listen(0, "127.0.0.1", () => {
    const issuer = `http://localhost:${server.address().port}`;
    const provider = new Provider(issuer, {
      clients: [{
        client_id: "ward", client_secret: secret, redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"],
        token_endpoint_auth_method: method, id_token_signed_response_alg: alg,
      }],
      clientAuthMethods: [method],
      enabledJWA: { idTokenSigningAlgValues: [alg] },
      pkce: { required: () => true },
      conformIdTokenClaims: !fat,
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
      cookies: { keys: ["only for tests"] },
      jwks: { keys: [key] },
      findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: !id.startsWith("unverified"), name: `Name of ${id}` }),
      }),
    });
    server.on("request", provider.callback());
    console.log(JSON.stringify({ issuer }));
  });
});
lines.on("close", () => process.exit(0));
