// A listing's chart, drawn from its archive.

import { Rows, fill, find, mark, tableRow, write } from "./dom.js";
import { change, moment, whole } from "./format.js";
import { serverNow } from "./now.js";

const seconds = (ms) => (ms === undefined ? "" : `${ms < 0 ? "\u2212" : "+"}${(Math.abs(ms) / 1000).toFixed(3)} s`);

export function listingView(dialog, listings) {
  let id = "";
  let drawn = "";  // the state of the archive that is shown
  let remove = () => {};
  const rows = new Rows(find("mover-rows"), (row) => `${row.exchange}.${row.market_type} ${row.symbol}`,
    () => tableRow(["", "", "n", "n", "n", "n", "n"]),
    (row, { exchange, market_type: market, symbol, trades, first_abnormal: first, peak }) => fill(row, [
      `${exchange}.${market}`, symbol, seconds(first?.after_announcement_ms), first ? change(first.change_percent) : "",
      peak ? change(peak.change_percent) : "", seconds(peak?.after_announcement_ms), whole(trades)]));

  const note = (text) => write(find("listing-note"), text);

  async function draw(wanted, archive) {
    const base = `api/listings/${encodeURIComponent(archive)}/files/`;
    try {
      const [page, analysis] = await Promise.all([get(`${base}chart.html`, "text"), get(`${base}refined/pump_analysis.json`, "json")]);
      if (wanted !== id) return;
      clear();
      const data = JSON.parse(/<script type="application\/json" id="data">([^<]*)<\/script>/.exec(page)[1]);
      remove = drawListing(data, { box: find("chart"), tip: find("tip"), names: find("names") });
      rows.show(analysis.instruments);
    } catch (error) {
      if (wanted === id) note(`The archive cannot be read: ${error.message}`);
    }
  }

  async function get(url, kind) {
    const answer = await fetch(url);
    if (answer.ok) return answer[kind]();
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail ?? `the collector answers with status ${answer.status}`);
  }

  function clear() {
    remove();
    remove = () => {};
    find("names").replaceChildren();
    rows.show([]);
  }

  /** Show the listing's current state, and its chart whenever the archive is new or replaced. */
  function changed() {
    if (!id) return;
    const item = listings().find((listing) => listing.id === id);
    if (!item) return;
    write(find("listing-name"), item.coin);
    note(`${item.source}: ${item.title} (published ${moment(item.announced_ms)} UTC, seen ${seconds(item.seen_after_ms)})`);
    const state = `${item.archive} ${item.trades}`;
    find("chart").hidden = find("movers").hidden = !item.archive;
    write(find("chart-note"), item.archive
      ? "Seconds from the publication, by the venues' clocks. Top: price per coin; a dot marks a venue's first abnormal trade. Bottom: value of all trades, buys up and sells down."
      : item.problem || (item.ends_ms > serverNow() ? "The window is open. The chart appears when it has closed."
        : "The window has closed. The chart appears with the archive."));
    mark(find("listing-files"), "href", item.archive ? `api/listings/${encodeURIComponent(item.archive)}/files/manifest.json` : "");
    if (!item.archive || drawn === state) return;
    drawn = state;
    draw(id, item.archive);
  }

  function open(name) {
    if (name === id) return;
    close();
    id = name;
    write(find("listing-name"), "");
    note("This listing is not in the list of recent listings.");
    write(find("chart-note"), "");
    find("chart").hidden = find("movers").hidden = true;
    changed();
  }

  function close() {
    id = drawn = "";
    clear();
  }

  return { dialog, open, close, changed };
}
