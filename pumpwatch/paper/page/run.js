"use strict";

const lib = LightweightCharts;
const find = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const price = (value) => Number(value.toPrecision(6)).toString();
const money = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });
// The library wants dates: zero is a midnight and a second a minute of theirs, so that whole seconds get the marks of the axis.
const ZERO = 86400 * 10000, SECOND = 60;
const seconds = (time, places) => `${time > ZERO ? "+" : time < ZERO ? "\u2212" : ""}${(Math.abs(time - ZERO) / SECOND).toFixed(places)} s`;
const look = () => ({
  layout: { attributionLogo: false, background: { color: color("--back") }, textColor: color("--text"), panes: { separatorColor: color("--line") } },
  grid: { vertLines: { color: color("--line") }, horzLines: { color: color("--line") } },
});
const plain = { priceLineVisible: false, lastValueVisible: false };

/** A dashed line at zero, over the height of a pane. */
class Zero {
  constructor(chart, time) { Object.assign(this, { chart, time }); }
  paneViews() { return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) }]; }
  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const x = this.chart.timeScale().timeToCoordinate(this.time);
      if (x === null) return;
      context.strokeStyle = color("--mark");
      context.setLineDash([4, 3]);
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, mediaSize.height);
      context.stroke();
    });
  }
}

/** Draw one listing. Returns how to remove it. */
function draw(data) {
  const timeOf = (index) => ZERO + ((data.first_ms + index * data.step_ms) * SECOND) / 1000;
  const indexOf = (time) => Math.round((((time - ZERO) / SECOND) * 1000 - data.first_ms) / data.step_ms);
  const digits = data.step_ms < 1000 ? 1 : 0;
  const chart = lib.createChart(find("chart"), {
    ...look(), autoSize: true, localization: { timeFormatter: (time) => seconds(time, digits) },
    timeScale: { tickMarkFormatter: (time) => ((time - ZERO) % SECOND === 0 ? seconds(time, 0) : ""), borderVisible: false,
                 minBarSpacing: 0.1, fixLeftEdge: true, fixRightEdge: true },
    rightPriceScale: { borderVisible: false }, crosshair: { mode: lib.CrosshairMode.Normal },
  });
  const steps = Array.from({ length: data.count }, (_, index) => ({ time: timeOf(index) }));
  const axis = chart.addSeries(lib.LineSeries, { ...plain, crosshairMarkerVisible: false });
  axis.setData(steps);
  axis.attachPrimitive(new Zero(chart, timeOf(data.zero)));
  const least = Math.min(...data.venues.map((venue) => venue.price.reduce((a, b) => Math.min(a, b), Infinity)));
  const format = { type: "custom", formatter: price, minMove: Number.isFinite(least) ? 10 ** (Math.floor(Math.log10(least)) - 5) : 1 };
  const venues = data.venues.map((venue) => {
    const line = chart.addSeries(lib.LineSeries, { ...plain, color: venue.color, lineWidth: 2, lineType: lib.LineType.WithSteps,
      lineStyle: venue.futures ? lib.LineStyle.Dashed : lib.LineStyle.Solid, priceFormat: format, crosshairMarkerRadius: 3 });
    line.setData(venue.at.map((index, row) => ({ time: timeOf(index), value: venue.price[row] })));
    return line;
  });
  const equities = data.delays.map((delay) => {
    const line = chart.addSeries(lib.LineSeries, { ...plain, color: delay.color, lineWidth: 2, lineType: lib.LineType.WithSteps,
      priceFormat: { type: "custom", formatter: money, minMove: 0.01 } }, 1);
    line.setData(delay.at.map((index, row) => ({ time: timeOf(index), value: delay.value[row] })));
    return line;
  });
  equities[0]?.attachPrimitive(new Zero(chart, timeOf(data.zero)));
  if (equities.length) {
    chart.panes()[0].setStretchFactor(2);
    chart.panes()[1].setStretchFactor(1);
  }
  const shown = data.delays.map(() => true);
  const marks = venues.map((line) => lib.createSeriesMarkers(line, []));
  const mark = () => marks.forEach((series, number) => series.setMarkers(data.delays.flatMap((delay, row) => (shown[row] ? delay.fills : [])
    .filter((fill) => fill.line === number).map((fill) => ({ time: timeOf(fill.at), position: fill.side === "buy" ? "atPriceBottom" : "atPriceTop",
      price: fill.price, shape: fill.side === "buy" ? "arrowUp" : "arrowDown", color: delay.color }))).sort((a, b) => a.time - b.time)));
  mark();

  const button = (item, toggle) => {
    const made = document.createElement("button");
    const sample = document.createElement("i");
    sample.style.borderTopColor = item.color;
    sample.className = item.futures ? "futures" : "";
    made.append(sample, item.name);
    made.setAttribute("aria-pressed", "true");
    made.onclick = () => {
      const visible = made.getAttribute("aria-pressed") !== "true";
      made.setAttribute("aria-pressed", String(visible));
      toggle(visible);
    };
    return made;
  };
  find("names").replaceChildren(
    ...data.delays.map((delay, row) => button(delay, (visible) => { shown[row] = visible; equities[row].applyOptions({ visible }); mark(); })),
    ...data.venues.map((venue, row) => button(venue, (visible) => venues[row].applyOptions({ visible }))));

  const lastOf = (at, values, index) => {
    let found = null;
    for (let row = 0; row < at.length && at[row] <= index; row += 1) found = values[row];
    return found;
  };
  const tip = find("tip");
  const say = (text, swatch) => {
    const line = document.createElement("div");
    line.textContent = text;
    if (swatch) line.style.color = swatch;
    tip.append(line);
  };
  chart.subscribeCrosshairMove((event) => {
    tip.hidden = event.time === undefined || !event.point;
    if (tip.hidden) return;
    const index = indexOf(event.time);
    tip.replaceChildren();
    say(seconds(event.time, digits));
    for (const venue of data.venues) {
      const value = lastOf(venue.at, venue.price, index);
      if (value !== null) say(`${venue.name}  ${price(value)}`, venue.color);
    }
    data.delays.forEach((delay, row) => {
      if (!shown[row]) return;
      const value = lastOf(delay.at, delay.value, index);
      if (value !== null) say(`${delay.name}  ${money(value)}`, delay.color);
      for (const fill of delay.fills) if (fill.at === index) say(`${fill.side === "buy" ? "bought" : "sold"} ${price(fill.quantity)} at ${price(fill.price)}`, delay.color);
    });
    const right = event.point.x > find("chart").clientWidth / 2;
    tip.style.left = right ? "8px" : "auto";
    tip.style.right = right ? "auto" : "80px";
  });
  const repaint = () => chart.applyOptions(look());
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", repaint);
  chart.timeScale().fitContent();
  return () => { scheme.removeEventListener("change", repaint); chart.remove(); tip.hidden = true; };
}

const listings = JSON.parse(find("data").textContent);
if (listings.length) {
  let remove = draw(listings[0]);
  const pick = find("listing");
  listings.forEach((listing, number) => pick.append(new Option(listing.coin, String(number))));
  find("pick").hidden = listings.length < 2;
  pick.onchange = () => { remove(); remove = draw(listings[Number(pick.value)]); };
} else {
  find("chart").hidden = find("names").hidden = true;
}
document.documentElement.dataset.ready = "yes";
