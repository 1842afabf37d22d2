// Looks at pages while something happens, in the middle of reading: something has the focus, words are marked, tables are scrolled, details are open, a
// filter is half typed. It answers with what was lost.
import { createRequire } from "node:module";
import fs from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, cookie, happen, pages } = JSON.parse(fs.readFileSync(0, "utf8"));
const out = { problems: [], kept: 0 };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const [name, ...value] = cookie.split("=");

const read = async ({ at, live, focus, mark }) => {
  const context = await browser.newContext({ viewport: { width: 700, height: 500 } }); // with connections of its own
  await context.addCookies([{ name, value: value.join("="), url }]);
  const page = await context.newPage();
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) out.problems.push(`${at}: ${m.text()}`); });
  page.on("pageerror", (e) => out.problems.push(`${at}: ${e}`));
  await page.goto(url + at);
  await page.waitForFunction(() => document.getElementById("live").textContent === "Live");
  const before = await page.evaluate(({ live, focus, mark }) => {
    for (const d of document.querySelectorAll("[data-live] details")) d.open = true;
    document.querySelector(focus).focus();
    const field = document.querySelector("form[role=search] input, #about input[name=reason]");
    if (field) field.value = "half";
    getSelection().selectAllChildren(document.querySelector(mark));
    const wide = [...document.querySelectorAll(".wide")];
    for (const w of wide) w.scrollLeft = 9;
    globalThis.was = { focus: document.activeElement, words: String(getSelection()), scrolled: wide.map((w) => [w, w.scrollLeft]), details: [...document.querySelectorAll("[data-live] details")], field };
    return { html: document.querySelector(live).innerHTML, focused: document.activeElement.matches(focus), words: globalThis.was.words };
  }, { live, focus, mark });
  if (!before.focused) out.problems.push(`${at}: ${focus} took no focus`);
  if (!before.words) out.problems.push(`${at}: ${mark} has no words`);
  return { at, live, page, html: before.html };
};

const after = async ({ at, live, page, html }) => {
  await page.waitForFunction(({ live, html }) => document.querySelector(live).innerHTML !== html, { live, html }, { timeout: 20000 });
  const lost = await page.evaluate(() => {
    const { focus, words, scrolled, details, field } = globalThis.was, lost = [];
    if (document.activeElement !== focus) lost.push("the focus is at " + document.activeElement.outerHTML.slice(0, 80));
    if (String(getSelection()) !== words) lost.push(`marked is "${getSelection()}"`);
    if (scrolled.some(([w, left]) => !w.isConnected || w.scrollLeft !== left)) lost.push("a table is scrolled back");
    if (details.some((d) => !d.isConnected || !d.open)) lost.push("details are closed");
    if (field && !(field.isConnected && field.value === "half")) lost.push("what was typed is gone");
    return lost;
  });
  for (const l of lost) out.problems.push(`${at}: ${l}`);
  if (!lost.length) out.kept++;
};

try {
  const readers = await Promise.all(pages.map(read));
  await fetch(happen);
  await Promise.all(readers.map(after));
} catch (e) {
  out.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(out));
