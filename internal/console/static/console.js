// Brings a page up to date while it is looked at: the server says which topics have news, and the parts marked data-live are taken from the
// page as it is now. Without this script pages show how things were when they were opened.
"use strict";
(() => {
  const address = new URL(location.href);
  if (address.searchParams.has("done")) { // it is said once
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
  }
  const topics = (document.body.dataset.topic || "").split(" ").filter(Boolean);
  const sign = document.getElementById("live");
  if (!topics.length || !sign) return;
  let source, known, busy = false, again = false;

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
      if (ask.status === 403) { source.close(); say("Signed out", "off"); return; }
      if (ask.status !== 200 || !ask.response) { say("No news for the moment", "off"); return; }
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = ask.response.getElementById(part.id);
        if (fresh && !part.contains(document.querySelector("[data-live] :is(input, select):focus"))) replace(part, document.importNode(fresh, true));
      }
      say("Live", "on");
      if (again) { again = false; refresh(); }
    };
    ask.send();
  };

  // Focus and what was scrolled or opened stay.
  const place = (e) => {
    if (e.id) return "#" + CSS.escape(e.id);
    const link = e.getAttribute("href"), action = e.form?.getAttribute("action");
    if (link) return `a[href="${CSS.escape(link)}"]`;
    return action ? `form[action="${CSS.escape(action)}"] ${e.localName}` : "";
  };
  const replace = (part, fresh) => {
    if (part.isEqualNode(fresh)) return;
    const focus = part.contains(document.activeElement) ? place(document.activeElement) : "";
    const scrolled = [...part.querySelectorAll(".wide")].map((e) => e.scrollLeft);
    part.replaceWith(fresh);
    fresh.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    if (focus) fresh.querySelector(focus)?.focus({ preventScroll: true });
  };

  const open = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("/events");
    source.onmessage = (m) => {
      const now = JSON.parse(m.data);
      const fresh = !known || topics.some((t) => now[t] !== known[t]);
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
