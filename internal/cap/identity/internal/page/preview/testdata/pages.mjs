// Opens pages in Chromium and says what is wrong with them: node pages.mjs NODE_MODULES < JSON
// The JSON has the fields below; shots is a folder for screenshots, or empty. The answer is {"states": n, "faults": […]}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium: browserType } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { chromium: executablePath, base, names, languages, schemes, shots } = JSON.parse(readFileSync(0, "utf8"));

const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const faults = [];
let states = 0;

const browser = await browserType.launch({ executablePath });
for (const locale of languages) {
  const context = await browser.newContext({ locale, reducedMotion: "reduce" });
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  // Pages that lead on by themselves stay to be looked at: 204 ends a navigation where it began.
  await context.route((url) => !url.href.startsWith(base), (route) => route.fulfill({ status: 204 }));
  const page = await context.newPage();
  let current = "";
  page.on("pageerror", (e) => faults.push(`${current}: error: ${e.message}`));
  page.on("console", (m) => {
    // That a page's own status is an error is what was asked for.
    if (["error", "warning"].includes(m.type()) && !m.text().startsWith("Failed to load resource: the server responded")) faults.push(`${current}: console: ${m.text()}`);
  });
  page.on("requestfailed", (r) => r.url().startsWith(base) && faults.push(`${current}: ${r.url()} didn't load`));
  page.on("response", (r) => r.status() >= 400 && r.request().resourceType() !== "document" && faults.push(`${current}: ${r.url()}: ${r.status()}`));

  for (const name of names) {
    current = `${name} ${locale}`;
    await page.goto(`${base}/preview/${name}`);
    await page.evaluate(axe);
    for (const [size, viewport] of Object.entries(sizes)) {
      await page.setViewportSize(viewport);
      const small = await page.evaluate(() => {
        const out = [];
        const e = document.scrollingElement;
        if (e.scrollWidth > e.clientWidth) out.push(`scrolls sideways: ${e.scrollWidth} > ${e.clientWidth}`);
        for (const c of document.querySelectorAll("a, button, input")) {
          const box = c.getBoundingClientRect();
          if (c.checkVisibility() && c.type !== "hidden" && !c.closest("p:not(.more), .problems") && !c.matches(".skip") && box.height < 43.5) out.push(`target ${c.outerHTML.slice(0, 80)} is ${box.height} px high`);
        }
        return out;
      });
      for (const s of small) faults.push(`${current} ${size}: ${s}`);
      for (const colorScheme of schemes) {
        await page.emulateMedia({ colorScheme });
        states++;
        const found = await page.evaluate(() => window.axe.run(document, { preload: false, resultTypes: ["violations"] }));
        for (const v of found.violations) faults.push(`${current} ${size} ${colorScheme}: axe ${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 120)} ${n.any[0]?.message ?? ""}`).join(" | ")}`);
        if (shots) await page.screenshot({ path: `${shots}/${name}-${locale}-${size}-${colorScheme}.png`, fullPage: true });
      }
    }
    for (const v of await page.evaluate(() => window.violations)) faults.push(`${current}: CSP: ${v}`);
  }
  await context.close();
}
await browser.close();
console.log(JSON.stringify({ states, faults }));
