// Brings a page up to date while it is looked at: the server says which topics have news, and the parts marked data-live become what the page
// is now. Without this script pages show how things were when they were opened.
"use strict";
(() => {
  const address = new URL(location.href);
  if (address.searchParams.has("done")) { // it is said once
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
  }

  document.documentElement.classList.add("script"); // shows the buttons that copy
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-copy]");
    if (!button) return;
    const from = document.getElementById(button.dataset.copy), word = button.textContent;
    try {
      await navigator.clipboard.writeText(from.textContent.trim() + (from.localName === "pre" ? "\n" : ""));
      button.textContent = "Copied";
    } catch { // the browser doesn't want to: then it is marked, for the keyboard's copy
      getSelection().selectAllChildren(from);
      button.textContent = "Marked: press Ctrl+C";
    }
    button.disabled = true;
    setTimeout(() => { button.textContent = word; button.disabled = false; button.focus({ preventScroll: true }); }, 2000);
  });

  const topics = (document.body.dataset.topic || "").split(" ").filter(Boolean);
  const sign = document.getElementById("live");
  if (!topics.length || !sign) return;
  const stale = 60_000; // "2 min ago" has to grow where nothing happens, too
  let source, known, busy = false, again = false, fetched = Date.now();

  const say = (text, state) => { sign.textContent = text; sign.className = "soft " + state; };

  // A document that is asked for as one is parsed without running anything, and needs no trusted HTML.
  const refresh = () => {
    if (busy) { again = true; return; }
    busy = true;
    const ask = new XMLHttpRequest();
    ask.open("GET", location.href);
    ask.setRequestHeader("X-Ward-Live", "1");
    ask.responseType = "document";
    ask.onloadend = () => {
      busy = false;
      fetched = Date.now();
      if (ask.status === 403) { source.close(); say("Signed out", "off"); return; }
      if (ask.status !== 200 || !ask.response) { say("No news for the moment", "off"); return; }
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = ask.response.getElementById(part.id);
        if (fresh) renew(part, fresh);
      }
      say("Live", "on");
      if (again) { again = false; refresh(); }
    };
    ask.send();
  };

  // What is the same stays the very element, and with it focus, selection, scrolling, what was typed and what was opened.
  const renew = (part, fresh) => {
    const path = [];
    for (let e = document.activeElement; e && part.contains(e); e = e.parentElement) path.push(e);
    become(part, fresh);
    for (const e of path) { // it was moved; or it is gone, then the nearest around it that takes the focus
      if (document.activeElement === e) break;
      if (e.isConnected) e.focus({ preventScroll: true });
    }
  };
  const become = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
    if ("own" in old.dataset) return; // of another script
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
    }
    const waiting = new Map();
    for (const child of old.childNodes) {
      const key = keyOf(child);
      waiting.has(key) ? waiting.get(key).push(child) : waiting.set(key, [child]);
    }
    const now = [...fresh.childNodes].map((child) => [child, waiting.get(keyOf(child))?.shift()]);
    for (const rest of waiting.values()) rest.forEach((child) => child.remove());
    let next = old.firstChild;
    for (const [child, same] of now) {
      if (!same) old.insertBefore(document.importNode(child, true), next);
      else if (same !== next) old.insertBefore(same, next);
      else next = same.nextSibling;
      if (same) become(same, child);
    }
  };
  const keyOf = (e) => e.nodeName + " " + (e.id || e.dataset?.key || e.getAttribute?.("href") || "");

  const open = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("/events");
    source.onmessage = (m) => {
      const now = JSON.parse(m.data);
      const fresh = !known || topics.some((t) => now[t] !== known[t]) || Date.now() - fetched > stale;
      const first = !known;
      known = now;
      if (first) say("Live", "on"); else if (fresh) refresh();
    };
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "No news: reload the page" : "No news for the moment", "off");
  };
  // A browser has six connections to a host: pages that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => { if (document.hidden) { source?.close(); } else { open(); refresh(); } });
  open();
})();
