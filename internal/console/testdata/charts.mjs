// Points at charts, walks through them by keys, zooms, and lets values come meanwhile. It answers with what it saw.
import { createRequire } from "node:module";
import fs from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium } = require("playwright-core");
const { url, cookie, happen } = JSON.parse(fs.readFileSync(0, "utf8"));
const out = { problems: [], seen: {} };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const [name, ...value] = cookie.split("=");
  const enter = async (options) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    await context.addCookies([{ name, value: value.join("="), url }]);
    const page = await context.newPage();
    page.on("console", (m) => { if (["error", "warning"].includes(m.type())) out.problems.push(m.text()); });
    page.on("pageerror", (e) => out.problems.push(String(e)));
    await page.goto(url + "/services/web");
    return page;
  };
  const page = await enter({});
  await page.waitForFunction(() => document.getElementById("live").textContent === "Live");
  const over = page.locator(".u-over"), said = page.locator(".said");
  const charts = await over.count();
  if (charts < 2) out.problems.push(`${charts} charts`);
  if (await page.locator("#whole").isVisible()) out.problems.push("it offers the whole time, which is what is shown");
  const box = await over.first().boundingBox();
  const labels = () => page.evaluate(() => [...document.querySelectorAll(".u-over")].map((e) => e.getAttribute("aria-valuetext")));
  await page.mouse.move(box.x + box.width / 2, box.y + 20);
  out.seen.pointed = await said.first().textContent();
  out.seen.others = await said.nth(1).textContent();
  await page.mouse.move(5, 5);

  await over.first().focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  out.seen.keys = (await labels())[0];

  // The picture of a narrower time is another one.
  const pixels = () => page.evaluate(() => [...document.querySelectorAll(".plot canvas")].map((c) => c.toDataURL()));
  const before = await pixels();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.locator("#whole").waitFor({ state: "visible" });
  const zoomed = await pixels();
  out.seen.dragged = String(zoomed[0] !== before[0]);
  out.seen["others zoomed"] = String(zoomed[1] !== before[1]);

  // Values come: the latest in the caption is another, an opened table and the zoom stay.
  await page.locator("#charts summary").first().click();
  const latest = await page.locator("#charts .key b").first().textContent();
  const canvas = await page.evaluate(() => { globalThis.was = document.querySelector(".plot canvas"); return true; });
  await fetch(happen);
  await page.waitForFunction((l) => document.querySelector("#charts .key b").textContent !== l, latest, { timeout: 15000 });
  out.seen.news = String(canvas && await page.evaluate(() => globalThis.was === document.querySelector(".plot canvas")));
  out.seen["after news"] = String(await page.evaluate(() => !document.getElementById("whole").hidden && document.querySelector("#charts details").open));

  await page.locator("#whole").click();
  out.seen.whole = String(await page.evaluate(() => document.getElementById("whole").hidden && document.activeElement.className === "u-over"));
  await page.keyboard.press("+");
  const narrower = await page.evaluate(() => document.getElementById("whole").hidden);
  await page.keyboard.press("Escape");
  out.seen.pressed = String(!narrower && await page.evaluate(() => document.getElementById("whole").hidden));

  const plain = await enter({ javaScriptEnabled: false });
  const drawn = await plain.locator("svg.drawn").first().isVisible();
  await plain.locator("#charts summary").first().click();
  out.seen["without JavaScript"] = `${drawn ? "picture" : "no picture"} and ${await plain.locator("#charts table").first().isVisible() ? "table" : "no table"}`;
} catch (e) {
  out.problems.push(String(e && e.stack || e));
}
await browser.close();
console.log(JSON.stringify(out));
