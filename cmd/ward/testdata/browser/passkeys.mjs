// Attacks with a passkey, in Chromium with its virtual authenticator: an answer sent again, a passkey used without user
// verification, and a copy whose counter is behind. It answers with what came of each, and when it was tried.
import { asked, authenticator, launch, signUp } from "./person.mjs";

const { url } = asked;
const seen = { tries: [] };
const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
// Nothing is asked before the button is pressed.
await context.addInitScript(() => { PublicKeyCredential.isConditionalMediationAvailable = async () => false; });
const page = await context.newPage();

let sent; // the last answer of a passkey
page.on("request", (r) => { if (r.method() === "POST" && /credential=/.test(r.postData() ?? "")) sent = new URLSearchParams(r.postData()).get("credential"); });

// attempt opens the sign-in, does something there, and tells the status and whether somebody is signed in.
async function attempt(name, act) {
  await context.clearCookies();
  await page.goto(url + "/own/x");
  const at = Date.now();
  const posted = (r) => r.request().method() === "POST" && /credential=/.test(r.request().postData() ?? "");
  const [answer] = await Promise.all([page.waitForResponse(posted), page.waitForNavigation({ waitUntil: "networkidle" }), act()]);
  await page.goto(url + "/own/x");
  seen.tries.push({ name, at, status: answer.status(), signedIn: new URL(page.url()).origin === url });
}
const press = () => page.click("form[data-passkey=get] [data-start]");

try {
  const { cdp, authenticatorId } = await authenticator(page);
  await signUp(page);

  await attempt("its owner", press);
  const replayed = sent;
  await attempt("the same answer again", () => page.evaluate((answer) => {
    const form = document.querySelector("form[data-passkey=get]");
    form.elements.credential.value = answer;
    form.submit();
  }, replayed));

  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await attempt("without user verification", async () => {
    await page.evaluate(() => {
      const form = document.querySelector("form[data-passkey=get]");
      form.dataset.options = form.dataset.options.replace(/"userVerification":"required"/, '"userVerification":"discouraged"');
    });
    await press();
  });
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await attempt("its owner again", press);

  const { credentials: [own] } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
  seen.counter = own.signCount;
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: own.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...own, signCount: 1 } });
  await attempt("a copy", press);
} catch (e) {
  seen.error = String(e) + " at " + page.url();
}
await browser.close();
console.log(JSON.stringify(seen));
