// Opens pages of a console in Chromium, each in light, dark and on a phone, goes through each with the keyboard alone, and answers with what there is to
// complain of: console errors, axe's violations, pages wider than the window, what can't be reached or isn't seen to have the focus, lines that are hard to see.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(path.join(process.argv[2], "axe-core", "axe.min.js"), "utf8");
const { url, cookie, pages, shots } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { problems: [], opened: 0, walked: 0 };
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
  // Every link, button and field can be reached in the order of the page, and is seen to have the focus; the end leads out.
  const walk = async () => {
    const all = await page.evaluate(() => {
      const wanted = new Set([...document.querySelectorAll("a[href], button:enabled, input:not([type=hidden]), select, summary, [tabindex='0']")].filter((e) => e.tabIndex >= 0 && e.checkVisibility()));
      const order = [...wanted];
      globalThis.walked = { wanted, unseen: [], back: [], last: -1 };
      addEventListener("focusin", ({ target: e }) => {
        const s = getComputedStyle(e), inner = e.querySelector("rect"), w = globalThis.walked, at = order.indexOf(e);
        if (w.wanted.delete(e)) {
          if (!(s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 1 || inner && parseFloat(getComputedStyle(inner).strokeWidth) >= 4)) w.unseen.push(e.outerHTML.slice(0, 100));
          if (at < w.last) w.back.push(e.outerHTML.slice(0, 100));
          w.last = at;
        }
      });
      return order.length;
    });
    const key = (type) => session.send("Input.dispatchKeyEvent", { type, key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
    for (let i = 0; i < all + 20; i++) { // a date has several parts
      key("rawKeyDown");
      await key("keyUp");
    }
    const left = await page.evaluate(() => ({ unreached: [...globalThis.walked.wanted].map((e) => e.outerHTML.slice(0, 100)), unseen: globalThis.walked.unseen, back: globalThis.walked.back }));
    for (const e of left.unreached) complain("no key leads to " + e);
    for (const e of left.unseen) complain("the focus isn't seen at " + e);
    for (const e of left.back) complain("the keys jump back to " + e);
    seen.walked += all - left.unreached.length;
  };
  // What lines say can be told from what is behind them: 3 to 1 (WCAG 2.2, 1.4.11).
  const lines = async (look) => {
    const weak = await page.evaluate(() => {
      const light = (c) => c.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      return [...document.querySelectorAll("#map .arrow, #map .box rect, #day .denied, .chart .line")].map((e) => {
        const s = getComputedStyle(e), behind = light(getComputedStyle(e.closest(".card")).backgroundColor), of = light(s.stroke === "none" ? s.fill : s.stroke);
        return [e.getAttribute("class") || e.parentElement.getAttribute("class"), (Math.max(of, behind) + 0.05) / (Math.min(of, behind) + 0.05) * (s.opacity < 1 ? 0 : 1)];
      }).filter(([, ratio]) => ratio < 3).map(([of, ratio]) => `${of} ${ratio.toFixed(1)}`);
    });
    for (const w of new Set(weak)) complain(`${look}: hard to see: ${w}`);
  };
  for (at of pages) {
    const answer = await page.goto(url + at);
    if (answer.status() !== 200) complain("status " + answer.status());
    await check("light", { resultTypes: ["violations"] });
    await lines("light");
    await shoot("light");
    await page.emulateMedia({ colorScheme: "dark" });
    await check("dark", { resultTypes: ["violations"] });
    await lines("dark");
    await shoot("dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 375, height: 800 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) complain(`on a phone wider than the window by ${wide}`);
    await shoot("phone");
    await page.setViewportSize({ width: 1280, height: 800 });
    await walk();
    seen.opened++;
  }
} catch (e) {
  seen.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(seen));
