// Makes a page's charts ones to point at, to zoom (by dragging, or + and -) and to walk through by keys, by uPlot. Without this script they are the pictures that the
// server has drawn, each with a table that says the same.
"use strict";
(() => {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => () => style.getPropertyValue("--" + name).trim();
  const strokes = ["busy", "line2", "line3", "line4", "bad"].map(color);
  const dashes = [[], [6, 2], [2, 2], [8, 2, 2, 2], [4, 2]];
  const fine = (v) => String(v >= 100 ? Math.round(v) : Number(v.toPrecision(3)));
  const units = {
    number: fine,
    seconds: (v) => v === 0 ? "0" : v < 1e-3 ? `${fine(v * 1e6)} µs` : v < 1 ? `${fine(v * 1e3)} ms` : `${fine(v)} s`,
    bytes: (v) => v === 0 ? "0" : v < 2 ** 20 ? `${fine(v / 2 ** 10)} KB` : v < 2 ** 30 ? `${fine(v / 2 ** 20)} MB` : `${fine(v / 2 ** 30)} GB`,
  };
  const powers = Array.from({ length: 48 }, (_, i) => 2 ** i);
  const time = (at, form) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...form }).format(at * 1000);
  const day = { day: "numeric", month: "short" }, minute = { hour: "2-digit", minute: "2-digit" }, second = { ...minute, second: "2-digit" };
  const clock = (at, whole) => time(at, whole > 36 * 3600 ? day : whole < 600 ? second : minute);
  const moment = (at) => `${time(at, day)} ${time(at, second)}`;
  const plots = new Map(); // by figure
  const whole = document.getElementById("whole");

  const read = (figure) => {
    const c = JSON.parse(figure.dataset.chart);
    const n = c.lines[0].values.length;
    return { c, all: [Array.from({ length: n }, (_, i) => c.end - c.step * (n - 1 - i)), ...c.lines.map((l) => l.values)] };
  };
  const alone = (u, i) => u.data[i].reduce((out, v, k, all) => { if (v != null && all[k - 1] == null && all[k + 1] == null) out.push(k); return out; }, []);
  const size = (holder) => ({ width: holder.clientWidth, height: Math.max(130, Math.round(holder.clientWidth * 150 / 640)) });

  const make = (figure) => {
    const holder = figure.querySelector(".plot"), said = figure.querySelector(".said");
    const { c, all } = read(figure);
    const say = units[c.unit];
    const axis = { stroke: color("soft"), font: "11px system-ui, sans-serif", grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, gap: 4 };
    const u = new uPlot({
      ...size(holder), legend: { show: false }, padding: [10, 20, 0, 0], tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: true, y: false, dist: 6 }, sync: { key: "charts" }, points: { size: 7 } },
      scales: { y: { range: (_, least, most) => [0, (most || 1) * 1.05] } },
      axes: [
        { ...axis, size: 22, space: 70, values: (x, at) => at.map((t) => clock(t, x.scales.x.max - x.scales.x.min)) },
        { ...axis, size: 56, space: 34, values: (_, at) => at.map(say), ...(c.unit === "bytes" ? { incrs: powers } : {}) },
      ],
      series: [{}, ...c.lines.map((l) => ({
        label: l.name, width: 1.75, stroke: strokes[(l.stroke - 1) % strokes.length], dash: dashes[(l.stroke - 1) % dashes.length], points: { show: true, size: 4, filter: alone },
      }))],
      hooks: {
        setCursor: [(x) => {
          const i = x.cursor.idx;
          const text = i == null ? "" : [moment(x.data[0][i]), ...c.lines.map((l, k) => `${l.name} ${x.data[k + 1][i] == null ? "–" : say(x.data[k + 1][i])}`)].join(" · ");
          said.textContent = text;
          x.over.setAttribute("aria-valuenow", i ?? x.data[0].length - 1);
          x.over.setAttribute("aria-valuetext", text || "no time is chosen");
        }],
        setScale: [(x, key) => { if (key === "x" && whole) whole.hidden = x.scales.x.min <= x.data[0][0] && x.scales.x.max >= x.data[0].at(-1); }],
      },
    }, all, holder);
    for (const [name, value] of Object.entries({ tabindex: 0, role: "slider", "aria-label": figure.querySelector("b").textContent + ": arrow keys go through time, + and - zoom, Escape shows the whole time", "aria-valuemin": 0, "aria-valuemax": all[0].length - 1, "aria-valuenow": all[0].length - 1, "aria-valuetext": "no time is chosen" })) u.over.setAttribute(name, value);
    u.over.addEventListener("keydown", (e) => key(u, e));
    new ResizeObserver(() => { const now = size(holder); if (holder.clientWidth && now.width !== u.width) u.setSize(now); }).observe(holder);
    return u;
  };

  const zoom = (min, max) => { for (const u of plots.values()) u.setScale("x", { min, max }); };
  const reset = () => { for (const u of plots.values()) zoom(u.data[0][0], u.data[0].at(-1)); };
  const key = (u, e) => {
    const times = u.data[0], last = times.length - 1, at = u.cursor.idx ?? last, { min, max } = u.scales.x;
    const go = (i) => u.setCursor({ left: u.valToPos(times[Math.min(Math.max(i, 0), last)], "x"), top: u.over.clientHeight / 2 });
    const scale = (by) => {
      const wide = Math.max((max - min) * by, 4 * (times[1] - times[0])), from = Math.min(Math.max(times[at] - wide / 2, times[0]), times[last] - wide);
      wide >= times[last] - times[0] ? reset() : zoom(from, from + wide);
    };
    const acts = {
      ArrowLeft: () => go(at - (e.shiftKey ? 10 : 1)), ArrowRight: () => go(at + (e.shiftKey ? 10 : 1)), Home: () => go(0), End: () => go(last),
      "+": () => scale(0.5), "=": () => scale(0.5), "-": () => scale(2), Escape: reset,
    };
    if (!acts[e.key] || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    acts[e.key]();
  };

  // What is zoomed stays so when values come.
  const renew = (figure) => {
    const u = plots.get(figure), fresh = figure.dataset.chart && read(figure).all;
    if (!u || !fresh || fresh.length !== u.data.length) {
      u?.destroy();
      plots.delete(figure);
      if (fresh) plots.set(figure, make(figure));
      return;
    }
    const { min, max } = u.scales.x, zoomed = min > u.data[0][0] || max < u.data[0].at(-1);
    u.batch(() => {
      u.setData(fresh, !zoomed);
      if (zoomed) zoom(Math.max(min, fresh[0][0]), max);
    });
  };
  const charts = document.getElementById("charts");
  for (const figure of charts.querySelectorAll("figure[data-chart]")) renew(figure);
  new MutationObserver((all) => { for (const m of all) renew(m.target); }).observe(charts, { subtree: true, attributeFilter: ["data-chart"] });
  whole?.addEventListener("click", () => { reset(); plots.values().next().value.over.focus(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const u of plots.values()) u.redraw(true); });
})();
