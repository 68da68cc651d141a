(() => {
  "use strict";
  for (const patch of document.querySelectorAll(".patch")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const code = patch.querySelector("code");
      let done = false;
      try {
        await navigator.clipboard.writeText(code.textContent + "\n");
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
      }
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    patch.querySelector("p").append(button);
  }

  const source = document.getElementById("time-data");
  const canvas = document.querySelector(".canvas");
  if (!source || !canvas) return;
  const data = JSON.parse(source.textContent);
  const [left, right] = data.plot;
  const [from, to] = data.time;
  const cross = canvas.querySelector(".cross");
  const readout = document.querySelector(".readout");

  readout.textContent = "Point at the picture, or use the arrow keys on it, to read its values.";
  readout.hidden = false;

  const nanos = (n) => {
    const [value, unit] = n >= 1e9 ? [n / 1e9, "s"] : n >= 1e6 ? [n / 1e6, "ms"]
      : n >= 1e3 ? [n / 1e3, "µs"] : [n, "ns"];
    return value.toPrecision(3).replace(/\.?0+$/, (zeros, at, all) => all.includes(".") ? "" : zeros) + " " + unit;
  };
  const clock = (t) => {
    const s = t % 60, m = Math.floor(t / 60) % 60, h = Math.floor(t / 3600);
    const two = (n) => String(n).padStart(2, "0");
    return t < 120 ? t.toFixed(1) + " s" : h > 0 ? h + ":" + two(m) + ":" + two(Math.floor(s))
      : m + ":" + two(Math.floor(s));
  };
  // The last point that begins at or before t, by bisection.
  const last = (points, t) => {
    let low = 0, high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] <= t) low = middle + 1; else high = middle;
    }
    return points[low - 1];
  };
  const value = (series, t) => {
    const begin = series.shape === "line" ? t + data.step / 2 : t;
    const point = last(series.points, begin);
    const over = point && series.shape !== "steps" && begin >= point[0] + data.step;
    if (!point || over) return series.unit === "count" ? "0" : "–";
    const [, low, high] = point;
    if (high === null) return "–";
    if (series.unit === "percent") return String(Math.round(high * 10) / 10) + " %";
    if (series.unit === "amount") return String(Number(high.toPrecision(3)));
    if (series.unit === "count") return String(high - low);
    if (series.unit === "nanoseconds") {
      return low === high ? nanos(high) : nanos(low) + " to " + nanos(high);
    }
    return String(Math.round(high * 10) / 10);
  };
  let at = null;
  const show = (t) => {
    at = Math.min(Math.max(t, from), to);
    const share = left + (at - from) / (to - from) * (right - left);
    cross.style.left = share * 100 + "%";
    cross.hidden = false;
    readout.replaceChildren();
    const add = (name, text) => {
      const item = document.createElement("span");
      const bold = document.createElement("b");
      bold.textContent = text;
      item.append(name + " ", bold);
      readout.append(item, " ");
    };
    add("at", clock(at));
    for (const series of data.series) add(series.name, value(series, at));
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (share >= left && share <= right) {
      show(from + (share - left) / (right - left) * (to - from));
    }
  });
  canvas.parentElement.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const pace = Math.max(data.step, (to - from) / 300);
    show(at === null ? from : at + way * pace);
  });
})();
