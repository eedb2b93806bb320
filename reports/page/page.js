// Draws the charts anew with zoom, hover and a cursor that they share. What the
// page says stands in it without this script, too.
(() => {
  "use strict";
  const root = document.documentElement;
  const groups = new Map(); // group -> plots that move together
  const plots = [];

  // number and time write values as the rest of the page does.
  function three(v) {
    const a = Math.abs(v);
    if (a >= 99.95) return Math.round(v).toLocaleString("en-US");
    return String(+v.toFixed(a >= 9.995 ? 1 : 2));
  }
  function time(v) {
    const a = Math.abs(v);
    if (v === 0) return "0 s";
    if (a < 0.9995e-3) return three(v * 1e6) + " µs";
    if (a < 0.9995) return three(v * 1e3) + " ms";
    return three(v) + " s";
  }
  function percentile(v) { return +(100 * (1 - 10 ** -v)).toFixed(Math.max(0, Math.ceil(v) - 1)) + " %"; }
  const writers = { s: time, "%": v => three(v * 100) + " %", percentile, "": three };
  const write = (unit, v) => v == null || Number.isNaN(v) ? "–" : (writers[unit] || three)(v);

  const colour = name => getComputedStyle(document.querySelector(`.probe .${name}`)).color;
  const dashes = { 2: [7, 3], 3: [2, 3], 4: [9, 3, 2, 3], 5: [12, 4], 6: [4, 2], 7: [1, 3], 8: [14, 3, 2, 3, 2, 3] };

  // A percentile axis is drawn by the number of nines.
  const warp = (d, x) => d.xunit === "percentile" ? -Math.log10(Math.max(1 - x, 1e-12)) : x;
  const nines = (lo, hi) => [0, 0.30103, 0.60206, 1, 1.30103, 2, 3, 4, 5, 6, 7, 8, 9].filter(v => v >= lo - 1e-9 && v <= hi + 1e-9);

  function logTicks(lo, hi) {
    const out = [];
    for (let k = Math.floor(Math.log10(lo)); k <= Math.ceil(Math.log10(hi)); k++)
      for (const m of Math.log10(hi / lo) > 3 ? [1] : [1, 2, 5]) {
        const v = m * 10 ** k;
        if (v >= lo * 0.999999 && v <= hi * 1.000001) out.push(v);
      }
    return out;
  }

  // valueAt reads a series at x: a step holds its last value, a line takes the
  // nearest point.
  function valueAt(s, x, ys) {
    let lo = 0, hi = s.x.length - 1;
    if (hi < 0 || x < s.x[0]) return null;
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1;
      if (s.x[mid] <= x) lo = mid; else hi = mid - 1;
    }
    if (s.kind !== "step" && lo + 1 < s.x.length && s.x[lo + 1] - x < x - s.x[lo]) lo++;
    return ys[lo];
  }

  // columns gives uPlot its one common X: each series keeps its own points. A
  // hole that comes from another series' X is no gap, but for those beside a gap
  // (mode 2).
  function columns(d) {
    const tables = [];
    for (const s of d.series) {
      tables.push([s.x, s.y]);
      if (s.low) tables.push([s.x, s.low]);
    }
    return uPlot.join(tables, tables.map(() => [2]));
  }

  function options(d, fig, width) {
    const ink = colour("t"), rule = colour("r"), band = colour("bd");
    const series = [{}], bands = [];
    for (const s of d.series) {
      const stroke = colour("c" + s.style);
      const line = { label: s.name, stroke, width: 2, dash: dashes[s.style], points: { show: false } };
      if (s.kind === "step") line.paths = uPlot.paths.stepped({ align: 1 });
      if (s.kind === "points") line.paths = () => null; // see marks
      if (s.kind === "area") {
        Object.assign(line, { width: 1, dash: undefined });
        series.push(line, { ...line });
        bands.push({ series: [series.length - 2, series.length - 1], fill: stroke.replace("rgb(", "rgba(").replace(")", ", 0.3)") });
      } else series.push(line);
    }
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
    const x = { ...axis, label: d.xlabel, labelSize: 18, size: 34, space: 70, values: (u, vs) => vs.map(v => write(d.xunit, v)) };
    if (d.xunit === "percentile") x.splits = (u, i, lo, hi) => nines(lo, hi);
    const y = { ...axis, size: 70, values: (u, vs) => vs.map(v => write(d.unit, v)) };
    if (d.log[1]) Object.assign(y, { splits: (u, i, lo, hi) => logTicks(lo, hi), filter: (u, splits) => splits });
    return {
      width, height: d.height || 300, series, bands, axes: [x, y], legend: { show: false }, padding: [12, 30, 0, 0],
      scales: { x: { time: false, distr: d.log[0] ? 3 : 1, range: (u, lo, hi) => [lo, hi] }, y: { distr: d.log[1] ? 3 : 1, range: () => d.y } },
      cursor: { drag: { x: true, y: false, setScale: true }, sync: { key: d.group, setSeries: false }, points: { show: false }, focus: { prox: -1 } },
      hooks: {
        drawClear: [u => {
          const c = u.ctx;
          c.save();
          c.fillStyle = band;
          for (const b of d.bands) {
            const from = u.valToPos(b.from, "x", true), to = u.valToPos(b.to, "x", true);
            const left = Math.max(from, u.bbox.left), right = Math.min(Math.max(to, from + 1.5), u.bbox.left + u.bbox.width);
            if (right > left) c.fillRect(left, u.bbox.top, right - left, u.bbox.height);
          }
          c.restore();
        }],
        draw: [u => d.series.forEach(s => { if (s.kind === "points") marks(u, s); })],
        setCursor: [u => readout(u, d, fig)],
        setScale: [(u, key) => { if (key === "x") follow(u, d); }],
      },
    };
  }

  // marks draws points in the shapes of the legend.
  function marks(u, s) {
    const c = u.ctx, r = 4.5 * devicePixelRatio;
    c.save();
    c.beginPath();
    c.rect(u.bbox.left - r, u.bbox.top - r, u.bbox.width + 2 * r, u.bbox.height + 2 * r);
    c.clip();
    c.strokeStyle = c.fillStyle = colour("c" + s.style);
    c.lineWidth = 2 * devicePixelRatio;
    c.setLineDash([]);
    s.x.forEach((v, i) => {
      if (s.y[i] == null || v < u.scales.x.min || v > u.scales.x.max) return;
      const x = u.valToPos(v, "x", true), y = u.valToPos(s.y[i], "y", true);
      c.beginPath();
      switch (s.style % 4) {
        case 1: c.arc(x, y, r * 0.8, 0, 7); break;
        case 2: c.moveTo(x - r, y - r); c.lineTo(x + r, y + r); c.moveTo(x + r, y - r); c.lineTo(x - r, y + r); break;
        case 3: c.moveTo(x, y - r); c.lineTo(x + r, y + r); c.lineTo(x - r, y + r); c.closePath(); break;
        default: c.moveTo(x, y - r); c.lineTo(x + r, y); c.lineTo(x, y + r); c.lineTo(x - r, y); c.closePath();
      }
      if (s.style % 4 === 2) c.stroke(); else c.fill();
    });
    c.restore();
  }

  function readout(u, d, fig) {
    const at = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null;
    const outs = fig.querySelectorAll(".legend output");
    d.series.forEach((s, i) => {
      if (!outs[i]) return;
      if (at == null) { outs[i].textContent = ""; return; }
      const high = valueAt(s, at, s.y);
      outs[i].textContent = s.low ? write(d.unit, valueAt(s, at, s.low)) + " – " + write(d.unit, high) : write(d.unit, high);
    });
    const where = fig.querySelector(".where");
    if (where) where.textContent = at == null ? "" : "at " + write(d.xunit, at);
  }

  // show tells the range on the element, for whoever looks from outside.
  const show = u => { u.root.parentNode.dataset.x = u.scales.x.min + " " + u.scales.x.max; };

  // follow gives the other plots of a group the X range of the one that was
  // zoomed.
  let following = false;
  function follow(u, d) {
    if (following || !u.ready) return;
    following = true;
    const { min, max } = u.scales.x;
    show(u);
    for (const other of groups.get(d.group) || [])
      if (other !== u) { other.setScale("x", { min, max }); show(other); }
    const zoomed = Math.abs(min - warp(d, d.x[0])) > 1e-9 || Math.abs(max - warp(d, d.x[1])) > 1e-9;
    for (const p of plots) if (p.data.group === d.group) p.zoomed = zoomed;
    following = false;
  }

  function zoom(u, d, factor, shift) {
    const lo0 = warp(d, d.x[0]), hi0 = warp(d, d.x[1]);
    let { min, max } = u.scales.x;
    const mid = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : (min + max) / 2;
    const span = Math.min((max - min) * factor, hi0 - lo0);
    min = factor === 1 ? min + shift * span : mid - (mid - min) * span / (max - min);
    min = Math.min(Math.max(min, lo0), hi0 - span);
    if (span > 0) u.setScale("x", { min, max: min + span });
  }
  const reset = (u, d) => u.setScale("x", { min: warp(d, d.x[0]), max: warp(d, d.x[1]) });

  function keys(p) {
    p.box.addEventListener("keydown", e => {
      const u = p.plot, d = p.data, width = u.over.clientWidth;
      const step = e.shiftKey ? 25 : 5, left = u.cursor.left < 0 ? width / 2 : u.cursor.left;
      const move = dx => u.setCursor({ left: Math.min(Math.max(left + dx, 0), width - 1), top: u.over.clientHeight / 2 });
      const act = { ArrowLeft: () => move(-step), ArrowRight: () => move(step), "+": () => zoom(u, d, 0.5), "=": () => zoom(u, d, 0.5), "-": () => zoom(u, d, 2),
        PageUp: () => zoom(u, d, 1, -0.25), PageDown: () => zoom(u, d, 1, 0.25), Home: () => reset(u, d), Escape: () => reset(u, d) }[e.key];
      if (act) { e.preventDefault(); act(); }
    });
  }

  function element(tag, props, ...children) {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...children);
    return e;
  }

  function draw(p) {
    const { fig, data: d } = p;
    const drawing = fig.querySelector(".drawing");
    if (!p.box) {
      p.box = element("div", { className: "plot", tabIndex: 0 });
      p.box.setAttribute("role", "application");
      p.box.setAttribute("aria-roledescription", "interactive chart");
      p.box.setAttribute("aria-label", fig.querySelector("figcaption").textContent + ". Arrow keys move the cursor, plus and minus zoom, Page Up and Page Down pan, Home resets. The table below holds the values.");
      const again = element("button", { type: "button", textContent: "Reset zoom" });
      again.addEventListener("click", () => reset(p.plot, d));
      const closer = element("button", { type: "button", textContent: "Zoom in" });
      closer.addEventListener("click", () => zoom(p.plot, d, 0.5));
      const where = element("output", { className: "where" });
      p.tools = element("div", { className: "tools" }, closer, again, element("span", { textContent: "drag to zoom, double-click to reset, + − ← → on the keyboard" }), where);
      drawing.append(p.box, p.tools);
      drawing.removeAttribute("tabindex"); // the plot takes the focus, and fits
      keys(p);
      p.box.addEventListener("dblclick", () => reset(p.plot, d)); // uPlot's own goes to the data, not to the axis
      for (const li of fig.querySelectorAll(".legend li[data-s]")) li.append(" ", element("output", {}));
    }
    const old = p.plot && { min: p.plot.scales.x.min, max: p.plot.scales.x.max };
    if (p.plot) { groups.get(d.group).delete(p.plot); p.plot.destroy(); }
    p.plot = new uPlot(options(d, fig, drawing.clientWidth), p.columns, p.box);
    if (old) p.plot.setScale("x", old); else reset(p.plot, d);
    p.plot.ready = true;
    show(p.plot);
    if (!groups.has(d.group)) groups.set(d.group, new Set());
    const first = p.zoomed && [...groups.get(d.group)][0];
    groups.get(d.group).add(p.plot);
    if (first && !old) p.plot.setScale("x", { min: first.scales.x.min, max: first.scales.x.max });
    fig.classList.add("live");
  }

  // A chart is drawn when it comes near the window, so that the first screen
  // waits for none.
  function start() {
    const seen = new IntersectionObserver(entries => {
      for (const e of entries) {
        if (!e.isIntersecting) continue;
        seen.unobserve(e.target);
        draw(plots.find(p => p.fig === e.target));
      }
    }, { rootMargin: "400px" });
    for (const script of document.querySelectorAll("script.data")) {
      const data = JSON.parse(script.textContent);
      for (const s of data.series) s.x = s.x.map(x => warp(data, x));
      const p = { fig: script.closest("figure"), data, columns: columns(data) };
      plots.push(p);
      seen.observe(p.fig);
    }
    let due = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(due);
      due = requestAnimationFrame(() => {
        for (const p of plots) {
          const width = p.fig.querySelector(".drawing").clientWidth;
          if (p.plot && width && width !== p.plot.width) p.plot.setSize({ width, height: p.data.height || 300 });
        }
      });
    }).observe(document.querySelector("main"));
  }

  function redraw() { for (const p of plots) if (p.plot) draw(p); }

  function themes() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const button = element("button", { type: "button", className: "theme" });
    const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
    const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); redraw(); });
    dark.addEventListener("change", () => { name(); redraw(); });
    name();
    document.querySelector("header").prepend(button);
  }

  const probe = element("div", { className: "probe", hidden: true });
  for (const name of ["t", "r", "bd", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"]) probe.append(element("i", { className: name }));
  document.body.append(probe);
  themes();
  start();
  root.dataset.ready = "1";
})();
