// npm oidc-provider with our tests' clients, at our paths; whoever comes is signed in as Ada.
// node peer.mjs MODULES; standard input: one line of JSON, then it lives until the input ends.
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2] + "/");
const { default: Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const device = "urn:ietf:params:oauth:grant-type:device_code";

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  const { issuer, secret, jwk } = JSON.parse(line);
  const key = { ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig", kid: "1" };
  const scope = "openid email offline_access read write";
  const client = (client_id, more) => ({
    client_id, client_secret: secret, scope, id_token_signed_response_alg: "ES256", redirect_uris: [`https://${client_id}.example/cb`], response_types: ["code"],
    grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "client_secret_basic", ...more,
  });
  const spa = { client_secret: undefined, token_endpoint_auth_method: "none", application_type: "web" };
  const machine = { redirect_uris: [], response_types: [], grant_types: ["client_credentials"] };
  const provider = new Provider(issuer, {
    clients: [
      client("app", { grant_types: ["authorization_code", "refresh_token", "client_credentials"], post_logout_redirect_uris: ["https://app.example/bye"] }),
      client("spa", { ...spa, grant_types: ["authorization_code", "refresh_token", device] }),
      client("guest", { grant_types: ["authorization_code", "refresh_token", device] }),
      client("bound", { ...spa, dpop_bound_access_tokens: true }),
      client("api", { ...machine }),
      client("job", { ...machine, client_secret: undefined, token_endpoint_auth_method: "private_key_jwt", token_endpoint_auth_signing_alg: "ES256", jwks: { keys: [jwk] } }),
    ],
    clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
    scopes: scope.split(" "),
    claims: { openid: ["sub"], email: ["email"] },
    cookies: { keys: ["only for tests"] },
    jwks: { keys: [key] },
    responseTypes: ["code"],
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    issueRefreshToken: () => true,
    rotateRefreshToken: () => true,
    interactions: { url: (_, i) => "/interaction/" + i.uid },
    routes: {
      authorization: "/authorize", token: "/token", userinfo: "/userinfo", introspection: "/introspect", revocation: "/revoke", pushed_authorization_request: "/par",
      device_authorization: "/device_authorization", code_verification: "/device", end_session: "/logout", jwks: "/jwks",
    },
    features: {
      devInteractions: { enabled: false }, clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, introspection: { enabled: true }, revocation: { enabled: true },
      resourceIndicators: {
        enabled: true, defaultResource: () => undefined, useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => {
          if (resource !== "https://api.example") throw new errors.InvalidTarget();
          return { scope: "read write", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } };
        },
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: id + "@example.org" }) }),
  });
  provider.proxy = true;
  const serve = provider.callback();
  createServer(async (req, res) => {
    if (!req.url.startsWith("/interaction/")) return serve(req, res);
    const { prompt, params, session } = await provider.interactionDetails(req, res);
    if (prompt.name === "login") return provider.interactionFinished(req, res, { login: { accountId: "ada" } });
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } });
  }).listen(0, "127.0.0.1", function () {
    console.log(JSON.stringify({ port: this.address().port }));
  });
});
lines.on("close", () => process.exit(0));
