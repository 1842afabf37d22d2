// Attacks with a passkey, in Chromium with its virtual authenticator: an answer sent again, a passkey used without user
// verification, and a copy whose counter is behind. It answers with what came of each, and when it was tried.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, pages, mail } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { tries: [] };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
// Nothing is asked before the button is pressed.
await context.addInitScript(() => { PublicKeyCredential.isConditionalMediationAvailable = async () => false; });
const page = await context.newPage();

let sent; // the last answer of a passkey
page.on("request", (r) => { if (r.method() === "POST" && /credential=/.test(r.postData() ?? "")) sent = new URLSearchParams(r.postData()).get("credential"); });

async function mailed(pattern) {
  for (let i = 0; i < 100; i++) {
    for (const f of fs.existsSync(mail) ? fs.readdirSync(mail).sort().reverse() : []) {
      const found = fs.readFileSync(path.join(mail, f), "utf8").replace(/^[\s\S]*?\r?\n\r?\n/, "").match(pattern);
      if (found) return found[1];
    }
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error("no mail with " + pattern);
}

// attempt opens the sign-in, does something there, and tells the status and whether somebody is signed in.
async function attempt(name, act) {
  await context.clearCookies();
  await page.goto(url + "/own/x");
  const at = Date.now();
  const posted = (r) => r.request().method() === "POST" && /credential=/.test(r.request().postData() ?? "");
  const [answer] = await Promise.all([page.waitForResponse(posted), page.waitForNavigation({ waitUntil: "networkidle" }), act()]);
  await page.goto(url + "/own/x");
  seen.tries.push({ name, at, status: answer.status(), signedIn: new URL(page.url()).origin === url });
}
const press = () => page.click("form[data-passkey=get] [data-start]");

try {
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await page.goto(pages + "/register");
  await page.fill("input[name=name]", "Ada Lovelace");
  await page.fill("input[name=email]", "ada@example.com");
  await page.fill("input[name=password]", "a harbour full of quiet boats");
  await page.waitForFunction(() => document.querySelector("input[name=work]").value);
  await Promise.all([page.waitForNavigation(), page.click("form button.primary")]);
  await page.fill("input[name=code]", await mailed(/\b(\d{6})\b/));
  await Promise.all([page.waitForNavigation(), page.click("form button.primary")]);
  await page.goto(pages + "/account/factors/passkey");
  await Promise.all([page.waitForNavigation(), page.click("[data-start]")]);

  await attempt("its owner", press);
  const replayed = sent;
  await attempt("the same answer again", () => page.evaluate((answer) => {
    const form = document.querySelector("form[data-passkey=get]");
    form.elements.credential.value = answer;
    form.submit();
  }, replayed));

  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await attempt("without user verification", async () => {
    await page.evaluate(() => {
      const form = document.querySelector("form[data-passkey=get]");
      form.dataset.options = form.dataset.options.replace(/"userVerification":"required"/, '"userVerification":"discouraged"');
    });
    await press();
  });
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await attempt("its owner again", press);

  const { credentials: [own] } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
  seen.counter = own.signCount;
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: own.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...own, signCount: 1 } });
  await attempt("a copy", press);
} catch (e) {
  seen.error = String(e) + " at " + page.url();
}
await browser.close();
console.log(JSON.stringify(seen));
