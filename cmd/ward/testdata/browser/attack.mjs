// Looks at the map while an attack runs, and answers with what it saw come, without loading the page again.
import { createRequire } from "node:module";
import fs from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { link, attack } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { problems: [], before: {}, after: {} };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) seen.problems.push(m.text()); });
  page.on("pageerror", (e) => seen.problems.push(String(e)));
  await page.goto(link);
  await page.waitForURL((u) => u.pathname === "/");
  await page.waitForFunction(() => document.getElementById("live").textContent === "Live");
  const look = () => page.evaluate(() => ({
    red: [...document.querySelectorAll("#map .arrow.refused")].map((e) => e.textContent.trim()),
    dashed: [...document.querySelectorAll("#map .arrow.refused")].every((e) => getComputedStyle(e).strokeDasharray !== "none"),
    said: document.getElementById("head").textContent.includes("refused"),
    findings: document.querySelectorAll("#found tbody tr").length,
    flags: document.querySelectorAll("#map .flag").length,
    same: globalThis.opened === true,
  }));
  await page.evaluate(() => { globalThis.opened = true; });
  seen.before = await look();
  await fetch(attack);
  await page.waitForFunction(() => document.querySelector("#map .arrow.refused") && document.querySelector("#found tbody tr") && document.querySelector("#map .flag"), null, { timeout: 60000 });
  seen.after = await look();
} catch (e) {
  seen.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(seen));
