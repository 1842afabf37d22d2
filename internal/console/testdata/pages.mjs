// Opens pages of a console in Chromium, each in light, dark and on a phone, and answers with what it complained of: console errors, axe's
// violations, pages wider than the window.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(path.join(process.argv[2], "axe-core", "axe.min.js"), "utf8");
const { url, cookie, pages, shots } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { problems: [], opened: 0 };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  const [name, ...value] = cookie.split("=");
  await context.addCookies([{ name, value: value.join("="), url }]);
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  let at = "";
  const complain = (what) => seen.problems.push(`${at}: ${what}`);
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complain(m.text()); });
  page.on("pageerror", (e) => complain(String(e)));
  page.on("dialog", (d) => { complain("a dialog: " + d.message()); d.dismiss(); });
  const shoot = async (look) => {
    if (shots) await page.screenshot({ path: path.join(shots, look + "-" + (at.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "").slice(0, 40) || "map") + ".png"), fullPage: true });
  };
  // In a world of its own, past the pages' policy, which rightly lets no foreign script in.
  const check = async (look, options) => {
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
    await session.send("Runtime.evaluate", { expression: axe, contextId });
    const expression = `axe.run(document, ${JSON.stringify(options)}).then((r) => JSON.stringify(r.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message || "")).join(" | "))))`;
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, contextId });
    if (exceptionDetails) complain("axe: " + exceptionDetails.text);
    else for (const v of JSON.parse(result.value)) complain(`${look}, axe ${v}`);
  };
  for (at of pages) {
    const answer = await page.goto(url + at);
    if (answer.status() !== 200) complain("status " + answer.status());
    await check("light", { resultTypes: ["violations"] });
    await shoot("light");
    await page.emulateMedia({ colorScheme: "dark" });
    await check("dark", { runOnly: ["color-contrast"] });
    await shoot("dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 375, height: 800 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) complain(`on a phone wider than the window by ${wide}`);
    await shoot("phone");
    await page.setViewportSize({ width: 1280, height: 800 });
    seen.opened++;
  }
} catch (e) {
  seen.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(seen));
