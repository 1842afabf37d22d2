// A person signs up, adds a passkey, signs out, comes back with the passkey, and is led through step-up; in Chromium, with its
// virtual authenticator. It answers with what it saw.
import path from "node:path";
import { asked, authenticator, fillRegistration, launch, mailed, press as pressOn } from "./person.mjs";

const { url, pages, shots, phone } = asked;
const seen = { steps: [], violations: [] };
const browser = await launch();
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

const press = (selector) => pressOn(page, selector);

try {
  const { cdp, authenticatorId } = await authenticator(page);

  await page.goto(url + "/own/start?x=1");
  await step("led to sign-in");
  await press("a[href*='register']");
  await fillRegistration(page);
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
