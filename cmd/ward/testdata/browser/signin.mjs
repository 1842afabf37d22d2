// A person signs up, adds a passkey, signs out, comes back with the passkey, and is led through step-up; in Chromium, with its
// virtual authenticator. It answers with what it saw.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, pages, mail, shots, phone } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { steps: [], violations: [] };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 800 } });
const page = await context.newPage();
page.on("console", (m) => { if (/Content Security Policy|TrustedHTML/.test(m.text())) seen.violations.push(m.text()); });

let n = 0;
async function step(name) {
  await page.waitForLoadState("load");
  if (shots) await page.screenshot({ path: path.join(shots, `${String(n++).padStart(2, "0")}-${name}.png`), fullPage: true });
  const at = new URL(page.url());
  seen.steps.push({ name, origin: at.origin, path: at.pathname, text: (await page.locator("body").innerText()).slice(0, 2000) });
}

async function mailed(pattern) {
  for (let i = 0; i < 100; i++) {
    const files = fs.existsSync(mail) ? fs.readdirSync(mail).sort() : [];
    for (const f of files.reverse()) {
      const body = fs.readFileSync(path.join(mail, f), "utf8").replace(/^[\s\S]*?\r?\n\r?\n/, "");
      const found = body.match(pattern);
      if (found) return found[1];
    }
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error("no mail with " + pattern);
}

const press = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
const authenticator = async () => {
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, authenticatorId };
};

try {
  const { cdp, authenticatorId } = await authenticator();

  await page.goto(url + "/own/start?x=1");
  await step("led to sign-in");
  await press("a[href*='register']");
  await page.fill("input[name=name]", "Ada Lovelace");
  await page.fill("input[name=email]", "ada@example.com");
  await page.fill("input[name=password]", "a harbour full of quiet boats");
  await page.waitForFunction(() => document.querySelector("input[name=work]").value);
  await step("register");
  await press("form button.primary");
  await page.fill("input[name=code]", await mailed(/\b(\d{6})\b/));
  await Promise.all([page.waitForURL((u) => u.origin === url), page.click("form button.primary")]);
  await step("registered");

  await page.goto(url + "/own/x");
  await step("own page");

  await page.goto(pages + "/account/factors");
  await step("factors");
  await page.goto(pages + "/account/factors/passkey");
  await step("add passkey");
  await Promise.all([page.waitForNavigation(), page.click("[data-start]")]);
  await step("passkey added");
  const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
  seen.credentials = credentials.map((c) => ({ rp: c.rpId, resident: c.isResidentCredential }));

  await page.goto(pages + "/account/sessions");
  await step("sessions");
  await page.goto(url + "/own/x");
  await page.evaluate(() => { const f = document.createElement("form"); f.method = "post"; f.action = "/.ward/sign-out"; document.body.append(f); setTimeout(() => f.submit()); });
  await page.waitForURL((u) => u.origin === pages);
  await step("signed out");

  // A discoverable passkey: nothing is typed. The page asks by itself (conditional UI), and the virtual authenticator agrees.
  await page.goto(url + "/own/back?y=2");
  if (new URL(page.url()).origin === pages) {
    await Promise.all([page.waitForURL((u) => u.origin === url, { timeout: 15000 }), page.click("[data-start]", { timeout: 3000 }).catch(() => {})]);
  }
  await step("back by passkey");

  // The same person with the password alone: the sensitive page asks for more.
  await context.clearCookies();
  await cdp.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled: false });
  await page.goto(url + "/own/x");
  await page.fill("input[name=identifier]", "ada@example.com");
  await press("form:has(input[name=identifier]) button.primary");
  await step("password");
  await page.fill("input[name=password]", "a harbour full of quiet boats");
  await press("form:has(input[name=password]) button.primary");
  await step("asked for a second factor");
} catch (e) {
  seen.error = String(e) + " at " + page.url();
  if (shots) await page.screenshot({ path: path.join(shots, "error.png"), fullPage: true });
}
await browser.close();
console.log(JSON.stringify(seen));
