// The console behind the gateway, in Chromium: who has no role stays outside, who has one comes in by a passkey, acts, sees what happens, and leaves.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, pages, console: home, mail, ask, shots } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { steps: [], violations: [] };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
// Nothing is asked before the button is pressed.
await context.addInitScript(() => { PublicKeyCredential.isConditionalMediationAvailable = async () => false; });
const page = await context.newPage();
page.on("console", (m) => { if (/Content Security Policy|Trusted Type/i.test(m.text())) seen.violations.push(m.text()); });

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

// step notes where the browser is.
async function step(name) {
  const at = new URL(page.url());
  seen.steps.push({ name, origin: at.origin, path: at.pathname, text: (await page.innerText("body")) + "\n" + (await page.textContent("body")) });
  if (shots) await page.screenshot({ path: path.join(shots, name.replaceAll(" ", "-") + ".png") });
}

// change has the test do something, and waits for it.
async function change(what) {
  const r = await context.request.get(ask + "/" + what);
  if (!r.ok()) throw new Error(what + ": " + r.status());
}
const press = (selector) => Promise.all([page.waitForNavigation({ waitUntil: "networkidle" }), page.click(selector)]);

try {
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await page.goto(home + "/findings");
  await step("nobody");

  await page.goto(pages + "/register");
  await page.fill("input[name=name]", "Ada Lovelace");
  await page.fill("input[name=email]", "ada@example.com");
  await page.fill("input[name=password]", "a harbour full of quiet boats");
  await page.waitForFunction(() => document.querySelector("input[name=work]").value);
  await press("form button.primary");
  await page.fill("input[name=code]", await mailed(/\b(\d{6})\b/));
  await press("form button.primary");
  await page.goto(pages + "/account/factors/passkey");
  await press("[data-start]");
  await context.clearCookies();

  await page.goto(home + "/findings");
  await press("form[data-passkey=get] [data-start]");
  await step("without a role");

  await change("promote");
  await page.goto(home + "/");
  await step("with a role");
  await page.waitForFunction(() => /live|as of/i.test(document.querySelector("#live")?.textContent ?? ""));
  await change("attack");
  await page.waitForFunction(() => document.body.textContent.includes("web → orders: refused"), null, { timeout: 20000 });
  await step("an attack as it happens");

  await page.goto(home + "/services/mailer");
  await page.fill("form[action='/answers/quarantine'] input[name=reason]", "a look");
  await press("form[action='/answers/quarantine'] button");
  await step("cut off");
  await page.goto(home + "/findings");
  await press("form[action$='/lift'] button");
  await step("let go");

  await change("demote");
  await page.goto(home + "/");
  await step("no longer");
  await change("promote");
  await press("form[data-passkey=get] [data-start]");
  await page.goto(home + "/audit");
  await press("form[action='/.ward/sign-out'] button");
  await step("left");
  await page.goto(home + "/");
  await step("nobody again");
} catch (e) {
  seen.error = String(e);
  await step("failed");
}
await browser.close();
console.log(JSON.stringify(seen));
