// Uses a console as people do: looks on while something happens, goes through pages with the keyboard alone, and does every act without
// JavaScript. It answers with what it saw.
import { createRequire } from "node:module";
import fs from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, cookie, happen } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { problems: [], live: [], copied: [], keys: [], done: [] };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
let leaving = false; // what comes then is refused, as it must be
const [name, ...value] = cookie.split("=");
const enter = async (options) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  await context.addCookies([{ name, value: value.join("="), url }]);
  const page = await context.newPage();
  page.on("console", (m) => { if (!leaving && ["error", "warning"].includes(m.type())) seen.problems.push(m.text()); });
  page.on("pageerror", (e) => seen.problems.push(String(e)));
  page.on("dialog", (d) => { seen.problems.push("a dialog: " + d.message()); d.dismiss(); });
  return page;
};
try {
  // What happens shows by itself, and what has the focus keeps it.
  const live = await enter({});
  await live.goto(url + "/");
  await live.waitForFunction(() => document.getElementById("live").textContent === "Live");
  await live.locator("#table a").first().focus();
  const before = await live.evaluate(() => document.activeElement.getAttribute("href"));
  await fetch(happen);
  await live.waitForFunction(() => document.getElementById("map").textContent.includes("cart → db: refused"), null, { timeout: 15000 });
  await live.waitForFunction(() => document.getElementById("table").textContent.includes("3.0/s"));
  seen.live.push(await live.evaluate((href) => document.activeElement.getAttribute("href") === href, before) ? "the focus stays" : "the focus is lost");
  await live.context().close();

  // The command and the change that would allow what was found are one click away; without the browser's leave they are marked.
  const copier = await enter({ permissions: ["clipboard-read", "clipboard-write"] });
  await copier.goto(url + "/findings/7");
  for (const what of ["command", "change"]) {
    await copier.locator(`[data-copy=${what}]`).click();
    await copier.waitForFunction((w) => document.querySelector(`[data-copy=${w}]`).textContent === "Copied", what);
    const text = await copier.evaluate(() => navigator.clipboard.readText());
    seen.copied.push(text === await copier.evaluate((w) => document.getElementById(w).textContent.trim() + (w === "change" ? "\n" : ""), what) ? text.split("\n")[0] : "another text: " + text);
  }
  await copier.goto(url + "/audit?from=12&limit=1");
  await copier.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error("no")); });
  await copier.locator("[data-copy=prove]").click();
  await copier.waitForFunction(() => String(getSelection()));
  seen.copied.push(await copier.evaluate(() => String(getSelection())));
  await copier.context().close();

  // The first key leads to the content.
  const keys = await enter({});
  await keys.goto(url + "/");
  await keys.keyboard.press("Tab");
  await keys.keyboard.press("Enter");
  seen.keys.push(await keys.evaluate(() => document.activeElement.id));
  await keys.context().close();

  const plain = await enter({ javaScriptEnabled: false });
  const act = async (at, fill, button) => {
    await plain.goto(url + at);
    for (const [field, text] of Object.entries(fill)) await plain.locator(field).first().fill(text);
    await Promise.all([plain.waitForNavigation(), plain.locator(button).first().click()]);
    seen.done.push((await plain.locator("p.done").innerText().catch(() => "nothing: " + plain.url())).slice(0, 40));
  };
  await act("/findings/7", { "form[action$='/silence'] input[name=reason]": "known" }, "form[action$='/silence'] button");
  await act("/findings", {}, "form[action^='/silences/'] button");
  await act("/findings", { "form[action='/answers/block'] input[name=client]": "203.0.113.7", "form[action='/answers/block'] input[name=reason]": "scans" }, "form[action='/answers/block'] button");
  await act("/findings", {}, "form[action$='/lift'] button");
  await act("/findings/7", {}, "form[action='/answers/quarantine'] button");
  await act("/findings/7", { "form[action$='/close'] input[name=note]": "a test" }, "form[action$='/close'] button");
  await act("/people/u1", {}, "form[action$='/sessions/end'] button");
  leaving = true;
  await Promise.all([plain.waitForNavigation(), plain.locator("form[action='/leave'] button").click()]);
  seen.done.push(await plain.locator("h1").innerText());
} catch (e) {
  seen.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(seen));
