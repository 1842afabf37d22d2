// What only a browser can tell about the pages: node flows.mjs NODE_MODULES < {"chromium", "base", "other"}
// The answer is an object of findings; the test knows what each has to be.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { chromium: browserType } = require("playwright-core");
const { chromium: executablePath, base, other } = JSON.parse(readFileSync(0, "utf8"));
const found = {};
const browser = await browserType.launch({ executablePath });

// Passkeys, by Chromium's virtual authenticator.
{
  const page = await (await browser.newContext()).newPage();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", { options });

  await page.goto(`${base}/preview/add-passkey`);
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.waitForURL("**/posted*");
  found.created = JSON.parse(await page.locator("pre").textContent());

  await page.goto(`${base}/preview/second-passkey`);
  await page.getByRole("button", { name: "Use a passkey" }).click();
  await page.waitForURL("**/posted*");
  found.asserted = JSON.parse(await page.locator("pre").textContent());

  // Conditional UI: the virtual authenticator answers without a click.
  await page.goto(`${base}/preview/sign-in`);
  await page.waitForURL("**/posted*");
  found.conditional = JSON.parse(await page.locator("pre").textContent());

  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await page.goto(`${base}/preview/second-passkey`);
  await page.getByRole("button", { name: "Use a passkey" }).click();
  await page.locator("[data-status]:not(:empty)").waitFor();
  found.refused = await page.locator("[data-status]").textContent();
}

// The proof of work is done by the time that the form is sent.
{
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${base}/register`);
  await page.getByLabel("Name").fill("Ada");
  await page.getByLabel("E-mail address").fill("ada@example.com");
  await page.getByLabel("Password").fill("four words are enough");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.waitForURL("**/posted*");
  found.worked = JSON.parse(await page.locator("pre").textContent());
}

// Without JavaScript: forms work, passkeys say why not, and the summary of problems has the focus.
{
  const page = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
  await page.goto(`${base}/preview/sign-in`);
  found.plainButton = await page.locator("[data-start]").isVisible();
  found.plainReason = await page.locator("noscript").innerText();
  await page.getByLabel("E-mail address").fill("ada@example.com");
  await page.getByRole("button", { name: "Continue", exact: true }).click();
  await page.waitForURL("**/posted*");
  found.plainPost = JSON.parse(await page.locator("pre").textContent());
  await page.goto(`${base}/preview/totp-wrong`);
  found.focus = await page.locator(":focus").getAttribute("class");
}

// A language chosen stays chosen.
{
  const page = await (await browser.newContext({ locale: "en" })).newPage();
  await page.goto(`${base}/preview/totp`);
  await page.getByRole("link", { name: "Deutsch" }).click();
  await page.goto(`${base}/preview/password`);
  found.language = await page.locator("html").getAttribute("lang");
}

// Where a form may end: a redirect to another origin is followed only when the view names it.
for (const way of ["closed", "open", "continue"]) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${base}/${way}`);
  if (way !== "continue") await page.getByRole("button", { name: "Yes, confirm it" }).click();
  const arrived = page.waitForURL(`${other}/**`, { timeout: way === "closed" ? 1500 : 15000 });
  found[way] = await arrived.then(() => true, () => false);
}

// Nobody may frame a page.
{
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${other}/frame`);
  await page.waitForLoadState();
  const [, ours, control] = page.frames();
  found.framed = (await ours.locator("form").count()) > 0;
  found.frames = (await control.locator("pre").count()) > 0; // a page without our headers can be
}

// Script that got into a page all the same doesn't run.
{
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${base}/preview/totp`);
  found.injected = await page.evaluate(() => {
    let sink = "ran";
    try {
      document.body.innerHTML = "<img src=x>";
    } catch {
      sink = "refused";
    }
    const inline = document.createElement("button");
    document.body.append(inline);
    inline.setAttribute("style", "color: rgb(1, 2, 3)");
    return { sink, style: getComputedStyle(inline).color };
  });
}

await browser.close();
console.log(JSON.stringify(found));
