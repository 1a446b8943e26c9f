"use strict";
// Charts, sorting and a filter. Without it the page shows the same tables, and the curves as a picture.
(() => {
  const HEIGHT = 270; // of a chart, in pixels
  const FAR = 40; // pixels between the pointer and a curve that it still means
  const NUM_MARKERS = 10; // of a curve
  const DISTRIBUTIONS = { linear: 1, log: 3, symlog: 4 };
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shown = value => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-4)
    ? value.toExponential(2) : String(Number(value.toPrecision(4))));
  for (const element of all(".tools[hidden], .controls[hidden]")) element.hidden = false;

  // Curves: data holds `styles`, of each method the number of its colour, its dash and the corners of its marker, and
  // `panels`, of which each curve has the place of its method and the lists x, mean, low and high.
  for (const section of all(".curves")) {
    const { names, styles, panels } = JSON.parse(section.querySelector("script").textContent);
    if (!panels.length) continue;
    const keys = all(".keys button", section);
    const visible = keys.map(() => true);
    const charts = panels.map(panel => chart(panel, section.querySelector(".charts")));
    section.querySelector("img").hidden = true;

    const show = () => {
      keys.forEach((key, place) => key.setAttribute("aria-pressed", visible[place]));
      for (const { plot, curves } of charts) {
        plot.batch(() => curves.forEach((curve, n) => plot.setSeries(n + 1, { show: visible[curve.place] })));
        plot.redraw();
      }
    };
    const view = (low, high) => { // of the whole training, as parts of it
      for (const { plot, whole: [first, last], seen } of charts) {
        const width = last - first;
        [seen.min, seen.max] = [first + low * width, first + high * width];
        plot.setScale("x", seen);
        plot.setCursor({ left: -10, top: -10 });
      }
      [section.dataset.low, section.dataset.high] = [low, high];
    };
    const moved = (scale, shift) => {
      const low = Number(section.dataset.low ?? 0), high = Number(section.dataset.high ?? 1), width = high - low;
      const wide = Math.min(1, width * scale), middle = (low + high) / 2 + shift * width;
      const start = Math.min(1 - wide, Math.max(0, middle - wide / 2));
      view(start, start + wide);
    };
    section.zoom = view;
    keys.forEach((key, place) => key.addEventListener("click", () => { visible[place] = !visible[place]; show(); }));
    const actions = {
      all: () => { visible.fill(true); show(); }, none: () => { visible.fill(false); show(); },
      in: () => moved(0.5, 0), out: () => moved(2, 0), back: () => moved(1, -0.5), forth: () => moved(1, 0.5),
      whole: () => view(0, 1),
    };
    for (const [name, action] of Object.entries(actions)) section.querySelector(`.${name}`).addEventListener("click", action);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(({ plot }) => plot.redraw()));

    function chart({ title, xlabel, scale, curves }, where) {
      const place = where.appendChild(document.createElement("div"));
      place.appendChild(document.createElement("h4")).textContent = title;
      const ends = curves.flatMap(({ x }) => [x[0], x[x.length - 1]]);
      const [first, last] = [Math.min(...ends), Math.max(...ends)];
      const space = 0.02 * (last - first) || 1; // for the markers at both ends
      const whole = [first - space, last + space];
      const seen = { min: whole[0], max: whole[1] }; // of steps, or of seconds
      const ink = curve => colour(`--c${styles[curve.place].number}`);
      const axis = { stroke: () => colour("--ink"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--line") } };
      const options = {
        width: place.clientWidth, height: HEIGHT,
        scales: { x: { time: false, range: (plot, low, high) => [low, high] }, y: { distr: DISTRIBUTIONS[scale], range: extent } },
        axes: [{ ...axis, label: xlabel, labelSize: 22, size: 34 }, { ...axis, size: 62, ...(scale === "log" ? { filter: round, grid: { ...axis.grid, filter: round }, ticks: { ...axis.ticks, filter: round } } : {}) }],
        series: [{}, ...curves.map(curve => ({
          stroke: () => ink(curve), dash: styles[curve.place].dash, width: 1.6, spanGaps: true, points: { show: false },
        }))],
        legend: { show: false },
        cursor: { points: { show: false }, y: false, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => section.zoom(0, 1) } },
        hooks: { drawAxes: [bands], drawSeries: [markers], setSelect: [selected], setCursor: [pointed] },
      };
      const tip = document.createElement("div"), dot = document.createElement("div");
      [tip.className, dot.className, tip.hidden, dot.hidden] = ["tip", "dot", true, true];
      const plot = new uPlot(options, uPlot.join(curves.map(({ x, mean }) => [x, mean])), place);
      plot.over.append(dot, tip);
      plot.setScale("x", seen);
      new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
      return { plot, curves, whole, seen };

      function inView(plot) { // the curves that are not hidden, with the places of their points inside the window
        const { min, max } = seen;
        return curves.filter((curve, n) => plot.series[n + 1].show).map(curve => {
          const inside = curve.x.flatMap((x, n) => (x >= min && x <= max ? [n] : []));
          return { curve, inside };
        });
      }
      function round(plot, splits) { // of a logarithmic axis only 1, 10, 100, and over less than two decades also 2 and 5
        const kept = splits[splits.length - 1] / splits[0] > 100 ? [1] : [1, 2, 5];
        return splits.map(value => (kept.includes(Number(value.toExponential().split("e")[0])) ? value : null));
      }
      function extent(plot) {
        const values = inView(plot).flatMap(({ curve, inside }) => inside.flatMap(n => [curve.low[n], curve.high[n]]));
        const kept = scale === "log" ? values.filter(value => value > 0) : values;
        if (!kept.length) return scale === "log" ? [0.1, 1] : [0, 1];
        const low = Math.min(...kept), high = Math.max(...kept);
        if (scale === "log") return [low / 1.15, high * 1.15];
        const margin = (high - low || Math.abs(high) || 1) * 0.06;
        return [low - margin, high + margin];
      }
      function clipped(plot, draw) {
        const { ctx, bbox: { left, top, width, height } } = plot;
        ctx.save();
        ctx.beginPath();
        ctx.rect(left, top, width, height);
        ctx.clip();
        draw(ctx);
        ctx.restore();
      }
      function bands(plot) {
        clipped(plot, ctx => curves.forEach((curve, n) => {
          if (!plot.series[n + 1].show) return;
          const least = scale === "log" ? plot.scales.y.min : -Infinity;
          const corner = (x, y) => ctx.lineTo(plot.valToPos(x, "x", true), plot.valToPos(Math.max(y, least), "y", true));
          ctx.beginPath();
          curve.x.forEach((x, at) => corner(x, curve.high[at]));
          for (let at = curve.x.length - 1; at >= 0; at--) corner(curve.x[at], curve.low[at]);
          ctx.globalAlpha = 0.14;
          ctx.fillStyle = ink(curve);
          ctx.fill();
        }));
      }
      function markers(plot, n) {
        const curve = curves[n - 1];
        if (!curve || !plot.series[n].show) return;
        const { inside } = inView(plot).find(one => one.curve === curve);
        const every = Math.max(1, Math.floor(inside.length / NUM_MARKERS)), size = 4 * devicePixelRatio;
        clipped(plot, ctx => {
          ctx.fillStyle = ink(curve);
          for (const at of inside.filter((_, m) => (m + curve.place) % every === 0)) {
            const x = plot.valToPos(curve.x[at], "x", true), y = plot.valToPos(curve.mean[at], "y", true);
            ctx.beginPath();
            for (const [right, down] of styles[curve.place].marker) ctx.lineTo(x + size * right, y + size * down);
            ctx.fill();
          }
        });
      }
      function selected(plot) {
        const { left, width } = plot.select;
        if (width < 5) return;
        const part = pixel => (plot.posToVal(pixel, "x") - whole[0]) / (whole[1] - whole[0]);
        section.zoom(Math.max(0, part(left)), Math.min(1, part(left + width)));
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }
      function pointed(plot) {
        const { left, top } = plot.cursor;
        let nearest = null;
        for (const { curve, inside } of left >= 0 ? inView(plot) : []) {
          for (const at of inside) {
            const x = plot.valToPos(curve.x[at], "x"), y = plot.valToPos(curve.mean[at], "y");
            const distance = Math.hypot(x - left, y - top);
            if (distance < (nearest?.distance ?? FAR)) nearest = { distance, curve, at, x, y };
          }
        }
        tip.hidden = dot.hidden = nearest === null;
        keys.forEach((key, n) => key.classList.toggle("near", n === nearest?.curve.place));
        if (!nearest) return;
        const { curve, at, x, y } = nearest;
        const [mean, low, high] = [curve.mean[at], curve.low[at], curve.high[at]].map(shown);
        tip.textContent = `${names[curve.place]}, ${xlabel} ${shown(curve.x[at])}: ${mean}${low === high ? "" : ` (${low} to ${high})`}`;
        const right = plot.over.clientWidth;
        tip.style.left = `${Math.max(0, Math.min(x + 12, right - tip.offsetWidth))}px`;
        tip.style.top = `${y > HEIGHT / 2 ? y - tip.offsetHeight - 10 : y + 12}px`;
        [dot.style.left, dot.style.top] = [`${x}px`, `${y}px`];
      }
    }
  }

  // Tables: a table of many rows is several, of which all but the first are folded; they are sorted together.
  const numeric = cell => parseFloat(cell.replace(/,/g, "").replace(/^</, ""));
  for (const paged of all(".paged")) {
    const bodies = all("tbody", paged);
    const sizes = bodies.map(body => body.rows.length);
    const heads = all("thead tr", paged);
    for (const head of heads) {
      [...head.cells].forEach((cell, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...cell.childNodes);
        cell.append(button);
        button.addEventListener("click", () => {
          const down = cell.getAttribute("aria-sort") === "ascending";
          sort(column, down);
          for (const one of heads) {
            [...one.cells].forEach((other, n) => {
              if (n === column) other.setAttribute("aria-sort", down ? "descending" : "ascending");
              else other.removeAttribute("aria-sort");
            });
          }
        });
      });
    }
    function sort(column, down) {
      const rows = bodies.flatMap(body => [...body.rows]).map(row => {
        const text = row.cells[column].textContent;
        return { row, text, missing: text === "-" || text === "", number: numeric(text) };
      });
      const numbers = rows.every(({ missing, number }) => missing || !Number.isNaN(number));
      const order = numbers ? (a, b) => a.number - b.number : (a, b) => a.text.localeCompare(b.text, "en", { numeric: true });
      rows.sort((a, b) => a.missing - b.missing || (a.missing ? 0 : (down ? -1 : 1) * order(a, b)));
      let at = 0;
      bodies.forEach((body, n) => { body.append(...rows.slice(at, at + sizes[n]).map(one => one.row)); at += sizes[n]; });
    }
  }

  // The filter hides rows of tables, rows of the picture at the top, and images.
  const filter = document.querySelector(".filter");
  const found = document.querySelector(".found");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    const first = all(".paged")[0];
    for (const row of all("tbody tr")) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    for (const one of all("[data-method]")) one.hidden = !one.dataset.method.toLowerCase().includes(wanted);
    for (const more of all(".more")) more.open = wanted !== "" && all("tbody tr", more).some(row => !row.hidden);
    const rows = all("tbody tr", first);
    found.textContent = wanted ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
  });
  for (const size of all(".size")) {
    const grid = size.closest(".tools").nextElementSibling;
    size.addEventListener("input", () => grid.style.setProperty("--tile", `${size.value}px`));
  }
})();
