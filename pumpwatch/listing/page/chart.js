"use strict";

/** Draws a listing: `data` as the archive's chart.html has it; the elements of the chart, its tip and its buttons. Returns how to remove it. */
function drawListing(data, { box, tip, names }) {
  const lib = LightweightCharts;
  // The library wants dates. The publication is a midnight, so that 0 is the strongest mark of the axis, and a second is a
  // minute of theirs, so that multiples of 5 s come next.
  const ZERO = 86400 * 10000, SECOND = 60;
  const digits = data.step_ms < 1000 ? 1 : 0;
  const timeOf = (index) => ZERO + ((data.first_ms + index * data.step_ms) * SECOND) / 1000;
  const indexOf = (time) => Math.round((((time - ZERO) / SECOND) * 1000 - data.first_ms) / data.step_ms);
  const seconds = (time, places) => `${time > ZERO ? "+" : time < ZERO ? "\u2212" : ""}${(Math.abs(time - ZERO) / SECOND).toFixed(places)} s`;
  const mark = (time) => {
    if ((time - ZERO) % SECOND === 0) return seconds(time, 0);
    const range = chart.timeScale().getVisibleRange();
    return range && range.to - range.from > 10 * SECOND ? "" : seconds(time, 1);
  };
  const price = (value) => Number(value.toPrecision(6)).toString();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const prices = data.venues.flatMap((venue) => venue.price);
  const least = prices.reduce((a, b) => Math.min(a, b), Infinity);

  const look = () => ({
    layout: { attributionLogo: false, background: { color: color("--back") }, textColor: color("--text"), panes: { separatorColor: color("--line") } },
    grid: { vertLines: { color: color("--line") }, horzLines: { color: color("--line") } },
  });
  const chart = lib.createChart(box, {
    ...look(), autoSize: true,
    localization: { timeFormatter: (time) => seconds(time, digits) },
    timeScale: { tickMarkFormatter: mark, borderVisible: false,
                 minBarSpacing: 0.1, fixLeftEdge: true, fixRightEdge: true },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.06 + 0.035 * data.marks.length, bottom: 0.06 } },
    crosshair: { mode: lib.CrosshairMode.Normal },
  });
  const format = { type: "custom", formatter: price, minMove: Number.isFinite(least) ? 10 ** (Math.floor(Math.log10(least)) - 5) : 1 };

  const lines = data.venues.map((venue) => chart.addSeries(lib.LineSeries, {
    color: venue.color, lineWidth: 2, lineType: lib.LineType.WithSteps, lineStyle: venue.futures ? lib.LineStyle.Dashed : lib.LineStyle.Solid,
    priceLineVisible: false, lastValueVisible: false, priceFormat: format, crosshairMarkerRadius: 3,
  }));
  lines.forEach((line, number) => {
    const venue = data.venues[number];
    line.setData(venue.at.map((index, row) => ({ time: timeOf(index), value: venue.price[row] })));
  });

  const volumeFormat = { type: "volume" };
  const volumes = [["buy", 1], ["sell", -1]].map(([side, sign]) => {
    const series = chart.addSeries(lib.HistogramSeries, {
      color: color(`--${side}`), priceFormat: volumeFormat, priceLineVisible: false, lastValueVisible: false }, 1);
    series.setData(data[side].map((value, index) => ({ time: timeOf(index), value: sign * value })));
    return series;
  });
  chart.panes()[0].setStretchFactor(3);
  chart.panes()[1].setStretchFactor(1);

  lines.forEach((line, number) => {  // once every time is on the axis: a marker counts them
    const { first, color } = data.venues[number];
    if (first !== null) lib.createSeriesMarkers(line, [{ time: timeOf(first), position: "inBar", shape: "circle", color, size: 1 }]);
  });

  /** Draws a dashed line at each mark, over the whole height; with `named`, its label at the top. */
  class Marks {
    constructor(named) { this.named = named; this.views = [{ zOrder: () => "top", renderer: () => ({ draw: (target) => this.draw(target) }) }]; }
    paneViews() { return this.views; }
    draw(target) {
      target.useMediaCoordinateSpace(({ context, mediaSize }) => {
        const ends = [];  // where the labels of each row end
        const labels = [];  // after all lines, on a ground of their own
        context.font = "12px system-ui, sans-serif";
        for (const mark of data.marks) {
          const x = chart.timeScale().timeToCoordinate(timeOf(mark.at));
          if (x === null) continue;
          context.strokeStyle = context.fillStyle = color("--mark");
          context.setLineDash([4, 3]);
          context.beginPath();
          context.moveTo(x, 0);
          context.lineTo(x, mediaSize.height);
          context.stroke();
          if (!this.named) continue;
          const width = context.measureText(mark.label).width;
          const left = Math.max(2, Math.min(x + 4, mediaSize.width - width - 2));
          let row = ends.findIndex((end) => end < left);
          if (row < 0) row = ends.length;
          ends[row] = left + width + 6;
          labels.push([mark.label, left, 13 + 15 * row, width]);
        }
        for (const [text, left, base, width] of labels) {
          context.fillStyle = color("--back");
          context.fillRect(left - 2, base - 11, width + 4, 14);
          context.fillStyle = color("--mark");
          context.fillText(text, left, base);
        }
      });
    }
  }
  volumes[0].attachPrimitive(new Marks(false));
  const top = chart.addSeries(lib.LineSeries, { visible: true, lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false });
  top.setData(data.buy.map((_, index) => ({ time: timeOf(index) })));
  top.attachPrimitive(new Marks(true));

  data.venues.forEach((venue, number) => {
    const button = document.createElement("button");
    const sample = document.createElement("i");
    sample.style.borderTopColor = venue.color;
    sample.className = venue.futures ? "futures" : "";
    button.append(sample, venue.name);
    button.setAttribute("aria-pressed", "true");
    button.onclick = () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      lines[number].applyOptions({ visible: shown });
    };
    names.append(button);
  });

  const valueAt = (venue, index) => {
    let found = null;
    for (let row = 0; row < venue.at.length && venue.at[row] <= index; row += 1) found = venue.price[row];
    return found;
  };
  const row = (text, swatch) => {
    const line = document.createElement("div");
    line.textContent = text;
    if (swatch) line.style.color = swatch;
    return line;
  };
  chart.subscribeCrosshairMove((event) => {
    tip.hidden = event.time === undefined || !event.point;
    if (tip.hidden) return;
    const index = indexOf(event.time);
    tip.replaceChildren(row(seconds(event.time, digits)));
    for (const mark of data.marks) if (mark.at === index) tip.append(row(mark.label, color("--mark")));
    data.venues.forEach((venue, number) => {
      const value = valueAt(venue, index);
      if (value !== null && names.children[number].getAttribute("aria-pressed") === "true") {
        tip.append(row(`${venue.name}  ${price(value)}${venue.first === index ? "  first abnormal trade" : ""}`, venue.color));
      }
    });
    tip.append(row(`bought ${Math.round(data.buy[index] || 0).toLocaleString("en")}`, color("--buy")),
               row(`sold ${Math.round(data.sell[index] || 0).toLocaleString("en")}`, color("--sell")));
    tip.style.left = event.point.x > box.clientWidth / 2 ? "8px" : "auto";
    tip.style.right = event.point.x > box.clientWidth / 2 ? "auto" : "80px";
  });

  const repaint = () => {
    chart.applyOptions(look());
    volumes[0].applyOptions({ color: color("--buy") });
    volumes[1].applyOptions({ color: color("--sell") });
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", repaint);
  chart.timeScale().fitContent();
  document.documentElement.dataset.ready = "yes";
  return () => {
    scheme.removeEventListener("change", repaint);
    chart.remove();
    tip.hidden = true;
    delete document.documentElement.dataset.ready;
  };
}

if (document.getElementById("data")) {
  const find = (id) => document.getElementById(id);
  drawListing(JSON.parse(find("data").textContent), { box: find("chart"), tip: find("tip"), names: find("names") });
}
