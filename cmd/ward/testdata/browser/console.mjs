// The console behind the gateway, in Chromium: who has no role stays outside, who has one comes in by a passkey, acts, sees what happens, and leaves.
import path from "node:path";
import { asked, authenticator, launch, press as pressOn, signUp } from "./person.mjs";

const { console: home, ask, shots } = asked;
const seen = { steps: [], violations: [] };
const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
// Nothing is asked before the button is pressed.
await context.addInitScript(() => { PublicKeyCredential.isConditionalMediationAvailable = async () => false; });
const page = await context.newPage();
page.on("console", (m) => { if (/Content Security Policy|Trusted Type/i.test(m.text())) seen.violations.push(m.text()); });

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
const press = (selector) => pressOn(page, selector, "networkidle");

try {
  await authenticator(page);
  await page.goto(home + "/findings");
  await step("nobody");

  await signUp(page);
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
