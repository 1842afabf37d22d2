// Solves the proof of work of <form data-work="challenge as JSON"> while the person fills it in, puts the answer into
// its field "work", and holds the form back until then. The same file is the worker, so the page stays quick.
const unhex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

// solve finds the number whose SHA-256 after the salt is the challenge, or null.
export async function solve({ salt, challenge, maxnumber }) {
  const wanted = unhex(challenge);
  const text = new TextEncoder();
  const batch = 512; // hashes under way at once: each is a promise
  for (let start = 0; start <= maxnumber; start += batch) {
    const last = Math.min(start + batch - 1, maxnumber);
    const sums = [];
    for (let n = start; n <= last; n++) sums.push(crypto.subtle.digest("SHA-256", text.encode(salt + n)));
    for (const [i, sum] of (await Promise.all(sums)).entries()) {
      const bytes = new Uint8Array(sum);
      if (bytes.length === wanted.length && bytes.every((b, at) => b === wanted[at])) return start + i;
    }
  }
  return null;
}

function attach(form) {
  const challenge = JSON.parse(form.dataset.work);
  const status = form.querySelector("[data-work-status]");
  const say = (text) => { if (status) status.textContent = text ?? ""; };
  const self = { createScriptURL: () => import.meta.url }; // nothing but this file can become a worker
  const address = globalThis.trustedTypes?.createPolicy("ward-pow", self).createScriptURL("") ?? import.meta.url;
  const worker = new Worker(address, { type: "module" });
  let done = false;
  let pressed; // the button, when the form was sent before the work was done
  let sent = false;
  const finish = (number) => {
    worker.terminate();
    // Without a number the server shows the form again, with words.
    if (number !== null) form.elements.work.value = btoa(JSON.stringify({ ...challenge, number }));
    done = true;
    form.removeAttribute("aria-busy");
    say(status?.dataset.done);
    if (sent) form.requestSubmit(pressed);
  };
  worker.onmessage = ({ data }) => finish(data);
  worker.onerror = () => finish(null);
  form.addEventListener("submit", (event) => {
    if (done) return;
    event.preventDefault();
    pressed = event.submitter;
    sent = true;
    form.setAttribute("aria-busy", "true");
  });
  say(status?.dataset.busy);
  worker.postMessage(challenge);
}

if (typeof document !== "undefined") {
  const form = document.querySelector("form[data-work]");
  if (form) attach(form);
} else if (typeof WorkerGlobalScope !== "undefined") {
  globalThis.onmessage = async ({ data }) => globalThis.postMessage(await solve(data));
}
