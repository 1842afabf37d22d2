// Signs in to a provider as openid-client and oauth4webapi do, and prints {name: "ok" or what was wrong}.
import { readFileSync } from "node:fs";
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // the test server's certificate is its own
const modules = process.argv[2];
const oc = await import(modules + "/openid-client/build/index.js");
const o4 = await import(modules + "/oauth4webapi/build/index.js");
const given = JSON.parse(readFileSync(0, "utf8"));
const issuer = new URL(given.issuer);

// A browser: cookies, redirects, and pages that lead on.
const jar = new Map();
async function open(url, form) {
  for (let i = 0; i < 12; i++) {
    const headers = { cookie: [...jar].map(([k, v]) => `${k}=${v}`).join("; ") };
    const r = await fetch(url, { method: form ? "POST" : "GET", body: form, headers, redirect: "manual" });
    for (const c of r.headers.getSetCookie()) {
      const [pair] = c.split(";");
      const at = pair.indexOf("=");
      if (/max-age=0/i.test(c) || pair.length === at + 1) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const text = await r.text();
    const to = r.headers.get("location") ?? r.headers.get("refresh")?.split("url=")[1];
    if (!to) return { url: new URL(url), text, status: r.status };
    const next = new URL(to, url);
    if (next.origin !== issuer.origin) return { url: next, text, status: r.status };
    url = next.href;
    form = undefined;
  }
  throw new Error("redirected for ever");
}

const results = {};
async function check(name, f) {
  try {
    await f();
    results[name] = "ok";
  } catch (e) {
    results[name] = [e.name, e.message, e.code, e.error, e.cause?.message].filter(Boolean).join(" | ");
  }
}
function must(ok, what) {
  if (!ok) throw new Error(what);
}
async function refused(code, f) {
  try {
    await f();
  } catch (e) {
    const got = e.error ?? e.cause?.error ?? e.code;
    if (got !== code) throw new Error(`${code} was expected, not ${got}: ${e.message}`);
    return;
  }
  throw new Error(`${code} was expected`);
}

const discover = (id, auth, meta) => oc.discovery(issuer, id, meta, auth);
const app = await discover("app", oc.ClientSecretBasic(given.secret));
const redirects = { app: "https://app.example/cb", spa: "https://spa.example/cb", bound: "https://bound.example/cb", old: "https://old.example/plain" };

async function begin(config, more = {}, push = false, options) {
  const verifier = oc.randomPKCECodeVerifier();
  const checks = { pkceCodeVerifier: verifier, expectedState: oc.randomState(), expectedNonce: oc.randomNonce() };
  const parameters = {
    redirect_uri: redirects[config.clientMetadata().client_id], scope: "openid email profile", state: checks.expectedState, nonce: checks.expectedNonce,
    code_challenge: await oc.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256", ...more,
  };
  const to = push ? await oc.buildAuthorizationUrlWithPAR(config, parameters, options) : oc.buildAuthorizationUrl(config, parameters);
  return { back: (await open(to.href)).url, checks };
}
async function signIn(config, more, push, options) {
  const { back, checks } = await begin(config, more, push, options);
  return oc.authorizationCodeGrant(config, back, checks, undefined, options);
}

await check("discovery", () => must(app.serverMetadata().issuer === given.issuer && app.serverMetadata().supportsPKCE(), "metadata"));
await check("discovery of RFC 8414", async () => {
  const c = await oc.discovery(issuer, "app", undefined, oc.ClientSecretBasic(given.secret), { algorithm: "oauth2" });
  must(c.serverMetadata().token_endpoint === given.issuer + "/token", "token_endpoint");
});
let tokens;
await check("code, PKCE, state, nonce, iss", async () => {
  tokens = await signIn(app, { resource: "https://api.example" });
  const c = tokens.claims();
  must(c.sub === "ada" && c.email === "ada@example.org", "claims");
});
await check("userinfo", async () => {
  const u = await oc.fetchUserInfo(app, tokens.access_token, "ada");
  must(u.email === "ada@example.org", "email");
});
await check("userinfo of another subject is refused", () => refused("OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED", () => oc.fetchUserInfo(app, tokens.access_token, "eve")));
await check("code replay", async () => {
  const { back, checks } = await begin(app);
  const t = await oc.authorizationCodeGrant(app, back, checks);
  await refused("invalid_grant", () => oc.authorizationCodeGrant(app, back, checks));
  await refused("invalid_grant", () => oc.refreshTokenGrant(app, t.refresh_token));
});
await check("wrong verifier", async () => {
  const { back, checks } = await begin(app);
  await refused("invalid_grant", () => oc.authorizationCodeGrant(app, back, { ...checks, pkceCodeVerifier: oc.randomPKCECodeVerifier() }));
});
await check("mix-up: another issuer is noticed", async () => {
  const { back, checks } = await begin(app);
  back.searchParams.set("iss", "https://evil.example");
  await refused("OAUTH_INVALID_RESPONSE", () => oc.authorizationCodeGrant(app, back, checks));
});
await check("mix-up: no issuer is noticed", async () => {
  const { back, checks } = await begin(app);
  back.searchParams.delete("iss");
  await refused("OAUTH_INVALID_RESPONSE", () => oc.authorizationCodeGrant(app, back, checks));
});
await check("max_age", async () => {
  const { back, checks } = await begin(app, { max_age: "3600" });
  await oc.authorizationCodeGrant(app, back, { ...checks, maxAge: 3600 });
});
await check("errors come back", async () => {
  const { back, checks } = await begin(app, { scope: "openid nonsense" });
  await refused("invalid_scope", () => oc.authorizationCodeGrant(app, back, checks));
});
await check("refresh and retry", async () => {
  const t = await signIn(app);
  const a = await oc.refreshTokenGrant(app, t.refresh_token);
  must(a.claims().sub === "ada" && a.refresh_token !== t.refresh_token, "rotation");
  const b = await oc.refreshTokenGrant(app, t.refresh_token);
  must(a.refresh_token === b.refresh_token, "a retry has another successor");
});
await check("refresh reuse ends the family", async () => {
  const t = await signIn(app);
  const a = await oc.refreshTokenGrant(app, t.refresh_token);
  const b = await oc.refreshTokenGrant(app, a.refresh_token);
  await refused("invalid_grant", () => oc.refreshTokenGrant(app, t.refresh_token));
  await refused("invalid_grant", () => oc.refreshTokenGrant(app, b.refresh_token));
  must(!(await oc.tokenIntrospection(app, b.access_token)).active, "an access token lives on");
});
await check("PAR", async () => must((await signIn(app, {}, true)).claims().sub === "ada", "sub"));
await check("public client", async () => must((await signIn(await discover("spa", oc.None()))).claims().sub === "ada", "sub"));
await check("RS256, nonce only", async () => {
  const old = await discover("old", oc.ClientSecretPost(given.secret), { id_token_signed_response_alg: "RS256" });
  const state = oc.randomState(), nonce = oc.randomNonce();
  const to = oc.buildAuthorizationUrl(old, { redirect_uri: redirects.old, scope: "openid", state, nonce });
  const t = await oc.authorizationCodeGrant(old, (await open(to.href)).url, { expectedState: state, expectedNonce: nonce });
  must(t.claims().nonce === nonce, "nonce");
});
const bound = await discover("bound", oc.None());
const handle = oc.getDPoPHandle(bound, await oc.randomDPoPKeyPair());
let dpopTokens;
await check("DPoP: code", async () => {
  dpopTokens = await signIn(bound, {}, false, { DPoP: handle });
  must(dpopTokens.token_type === "dpop", dpopTokens.token_type);
});
await check("DPoP: PAR", async () => must((await signIn(bound, {}, true, { DPoP: handle })).token_type === "dpop", "type"));
await check("DPoP: userinfo", async () => must((await oc.fetchUserInfo(bound, dpopTokens.access_token, "ada", { DPoP: handle })).sub === "ada", "sub"));
await check("DPoP: refresh", async () => must((await oc.refreshTokenGrant(bound, dpopTokens.refresh_token, undefined, { DPoP: handle })).token_type === "dpop", "type"));
await check("DPoP: another key can't refresh", async () => {
  const t = await signIn(bound, {}, false, { DPoP: handle });
  const other = oc.getDPoPHandle(bound, await oc.randomDPoPKeyPair());
  await refused("invalid_grant", () => oc.refreshTokenGrant(bound, t.refresh_token, undefined, { DPoP: other }));
});
await check("client credentials, basic and post", async () => {
  const post = await discover("app", oc.ClientSecretPost(given.secret));
  for (const c of [app, post]) must((await oc.clientCredentialsGrant(c, { resource: "https://api.example" })).access_token, "token");
});
await check("wrong secret", async () => {
  const bad = await discover("app", oc.ClientSecretBasic("wrong"));
  await refused("OAUTH_WWW_AUTHENTICATE_CHALLENGE", () => oc.clientCredentialsGrant(bad));
});
await check("private_key_jwt", async () => {
  const key = await crypto.subtle.importKey("pkcs8", Buffer.from(given.jobKey, "base64"), { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  const job = await discover("job", oc.PrivateKeyJwt(key));
  must((await oc.clientCredentialsGrant(job)).token_type === "bearer", "type");
});
await check("device", async () => {
  const spa = await discover("spa", oc.None());
  const d = await oc.initiateDeviceAuthorization(spa, { scope: "openid" });
  const page = await open(d.verification_uri_complete);
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)[1];
  await open(d.verification_uri, new URLSearchParams({ user_code: d.user_code, csrf, do: "allow" }));
  must((await oc.pollDeviceAuthorizationGrant(spa, { ...d, interval: 1 })).claims().sub === "ada", "sub");
});
await check("introspection", async () => {
  const i = await oc.tokenIntrospection(app, tokens.access_token);
  must(i.active && i.client_id === "app" && i.sub === "ada", "active");
});
await check("revocation", async () => {
  const t = await signIn(app);
  await oc.tokenRevocation(app, t.refresh_token);
  must(!(await oc.tokenIntrospection(app, t.access_token)).active, "an access token lives on");
  await refused("invalid_grant", () => oc.refreshTokenGrant(app, t.refresh_token));
});
await check("token exchange", async () => {
  const t = await oc.genericGrantRequest(app, "urn:ietf:params:oauth:grant-type:token-exchange", {
    subject_token: tokens.access_token, subject_token_type: "urn:ietf:params:oauth:token-type:access_token", audience: "https://deep.example",
  });
  must(t.issued_token_type === "urn:ietf:params:oauth:token-type:access_token", "type");
});

const as = await o4.processDiscoveryResponse(issuer, await o4.discoveryRequest(issuer));
await check("oauth4webapi: validateJwtAccessToken", async () => {
  const r = new Request("https://api.example/things", { headers: { authorization: "Bearer " + tokens.access_token } });
  const c = await o4.validateJwtAccessToken(as, r, "https://api.example");
  must(c.sub === "ada" && c.client_id === "app", "claims");
});
await check("oauth4webapi: another audience is refused", async () => {
  const r = new Request("https://deep.example/", { headers: { authorization: "Bearer " + tokens.access_token } });
  await refused("OAUTH_JWT_CLAIM_COMPARISON_FAILED", () => o4.validateJwtAccessToken(as, r, "https://deep.example"));
});
await check("oauth4webapi: validateJwtAccessToken with DPoP", async () => {
  const pair = await o4.generateKeyPair("ES256", { extractable: true });
  const client = { client_id: "bound" };
  const dpop = o4.DPoP(client, pair);
  const verifier = o4.generateRandomCodeVerifier();
  const to = new URL(as.authorization_endpoint);
  for (const [k, v] of Object.entries({ client_id: "bound", redirect_uri: redirects.bound, response_type: "code", scope: "openid", state: "s", code_challenge: await o4.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256" })) to.searchParams.set(k, v);
  const back = o4.validateAuthResponse(as, client, (await open(to.href)).url, "s");
  const answer = await o4.authorizationCodeGrantRequest(as, client, o4.None(), back, redirects.bound, verifier, { DPoP: dpop });
  const t = await o4.processAuthorizationCodeResponse(as, client, answer);
  const url = new URL("https://api.example/things");
  const seen = {};
  await o4.protectedResourceRequest(t.access_token, "GET", url, undefined, undefined, { DPoP: dpop, [o4.customFetch]: async (u, init) => {
    seen.headers = init.headers;
    return new Response();
  } });
  const c = await o4.validateJwtAccessToken(as, new Request(url, { headers: seen.headers }), given.issuer, { requireDPoP: true });
  must(c.cnf.jkt, "cnf");
});
await check("logout", async () => {
  const t = await signIn(app);
  const to = oc.buildEndSessionUrl(app, { id_token_hint: t.id_token, post_logout_redirect_uri: "https://app.example/bye", state: "x" });
  const { url } = await open(to.href);
  must(url.href === "https://app.example/bye?state=x", url.href);
  must(!(await oc.tokenIntrospection(app, t.access_token)).active, "a token lives on");
  await refused("login_required", async () => {
    const { back, checks } = await begin(app, { prompt: "none" });
    await oc.authorizationCodeGrant(app, back, checks);
  });
});
console.log(JSON.stringify(results));
