// What the other scripts share: Chromium, what the test says, and a person who signs up with a passkey in its virtual authenticator.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const { chromium } = createRequire(process.argv[2] + "/")("playwright-core");

// asked is what the test says.
export const asked = JSON.parse(fs.readFileSync(0, "utf8"));
export const launch = () => chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });

// mailed waits for the first group of a pattern in the newest mail that has it.
export async function mailed(pattern) {
  for (let i = 0; i < 100; i++) {
    for (const f of fs.existsSync(asked.mail) ? fs.readdirSync(asked.mail).sort().reverse() : []) {
      const found = fs.readFileSync(path.join(asked.mail, f), "utf8").replace(/^[\s\S]*?\r?\n\r?\n/, "").match(pattern);
      if (found) return found[1];
    }
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error("no mail with " + pattern);
}

export async function authenticator(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, authenticatorId };
}

// fillRegistration fills the page on which one makes an account.
export async function fillRegistration(page) {
  await page.fill("input[name=name]", "Ada Lovelace");
  await page.fill("input[name=email]", "ada@example.com");
  await page.fill("input[name=password]", "a harbour full of quiet boats");
  await page.waitForFunction(() => document.querySelector("input[name=work]").value);
}

// press clicks where that leads to another page.
export const press = (page, selector, waitUntil) => Promise.all([page.waitForNavigation({ waitUntil: waitUntil ?? "load" }), page.click(selector)]);

// signUp makes an account, and gives it a passkey.
export async function signUp(page) {
  await page.goto(asked.pages + "/register");
  await fillRegistration(page);
  await press(page, "form button.primary");
  await page.fill("input[name=code]", await mailed(/\b(\d{6})\b/));
  await press(page, "form button.primary");
  await page.goto(asked.pages + "/account/factors/passkey");
  await press(page, "[data-start]");
}
