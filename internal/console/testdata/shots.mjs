// Opens pages of a console in Chromium, and answers with what it complained of: console errors, axe's violations, pages wider than the window.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(path.join(process.argv[2], "axe-core", "axe.min.js"), "utf8");
const { url, cookie, pages, shots, looks } = JSON.parse(fs.readFileSync(0, "utf8"));
const seen = { problems: [], opened: 0 };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  for (const look of looks) {
    const context = await browser.newContext({ viewport: { width: look.width, height: look.height }, colorScheme: look.scheme, javaScriptEnabled: true, bypassCSP: false });
    await context.addCookies([{ name: cookie.split("=")[0], value: cookie.split("=").slice(1).join("="), url }]);
    for (const at of pages) {
      const page = await context.newPage();
      const complain = (what) => seen.problems.push(`${look.name} ${at}: ${what}`);
      page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complain(m.text()); });
      page.on("pageerror", (e) => complain(String(e)));
      page.on("dialog", (d) => { complain("a dialog: " + d.message()); d.dismiss(); });
      const answer = await page.goto(url + at);
      if (answer.status() !== 200) complain("status " + answer.status());
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) complain(`wider than the window by ${wide}`);
      if (shots) await page.screenshot({ path: path.join(shots, look.name + "-" + (at.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "map") + ".png"), fullPage: true });
      if (look.axe) {
        const session = await context.newCDPSession(page); // past the policy, which rightly lets no foreign script in
        const { frameTree } = await session.send("Page.getFrameTree");
        const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
        await session.send("Runtime.evaluate", { expression: axe, contextId: executionContextId });
        const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression: "axe.run(document,{resultTypes:['violations']}).then(r=>JSON.stringify(r.violations.map(v=>v.id+': '+v.nodes.slice(0,3).map(n=>n.html.slice(0,160)+' '+(n.any[0]?.message||'')).join(' | '))))", awaitPromise: true, returnByValue: true, contextId: executionContextId });
        if (exceptionDetails) complain("axe: " + exceptionDetails.text);
        else for (const v of JSON.parse(result.value)) complain("axe " + v);
      }
      seen.opened++;
      await page.close();
    }
    await context.close();
  }
} catch (e) {
  seen.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(seen));
