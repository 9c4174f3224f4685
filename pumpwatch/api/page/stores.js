// Show the tiles, journal, memory, sinks, backfill and channels, and the roll-out of a sink.

import { Rows, fill, find, make, mark, tableRow, write } from "./dom.js";
import { bytes, clock, duration, percent, rate, whole } from "./format.js";

const sum = (items, key) => items.reduce((total, item) => total + (item[key] ?? 0), 0);

// The state of a tile, by the collector's level of memory or disk.
const LEVELS = { shrunk: "odd", above: "bad", clean_up: "odd", emergency: "bad", full: "bad" };

/** Write a tile: its figure, its note, and whether it is "odd" or "bad". */
function tile(name, text, note = "", state = "") {
  write(find(name), text);
  const small = find(`${name}-note`);
  if (small) write(small, note);
  mark(find(name).closest(".tile"), "data-state", state ?? "");
}

export function showTiles(figures, history) {
  const { venues, journal, cpu, memory, disk } = figures;
  const up = sum(venues, "up");
  const of = sum(venues, "of");
  const silent = sum(venues, "silent");
  tile("rate", rate(figures.rate));
  history.draw(find("rate-line"), "");
  mark(find("rate-line"), "aria-label", "trades a second of all venues over five minutes");
  tile("connections", `${whole(up)}/${whole(of)}`, silent ? `${whole(silent)} symbols silent` : "no symbol silent",
       up < of ? (venues.some((venue) => venue.of && !venue.up) ? "bad" : "odd") : silent ? "odd" : "");
  tile("durable", `${whole(journal.p50_ms)} ms`, `99 % in ${whole(journal.p99_ms)} ms`);
  tile("backlog", whole(journal.backlog), journal.dropped ? `${whole(journal.dropped)} dropped` : "not yet on disk",
       journal.dropped ? "bad" : "");
  const open = sum(venues, "open");
  const lost = sum(venues, "lost");
  tile("gaps", whole(open), `${whole(sum(venues, "filled"))} filled, ${whole(lost)} lost`, open || lost ? "odd" : "");
  tile("cpu", percent(cpu));
  showMemory(memory);
  showDisk(disk);
}

function showMemory({ rss_bytes: used, limit_bytes: limit, level }) {
  tile("memory", bytes(used), limit ? `of ${bytes(limit)}` : "", LEVELS[level]);
  meter(find("memory-meter"), limit ? used / limit : null, 0.8, 0.95);
}

function showDisk(disk) {
  const left = disk.days_left === null ? "" : `, ${duration(disk.days_left * 86400)} left`;
  const [cleanUp, emergency] = disk.limits;
  tile("disk", percent(disk.used_share), `of ${percent(cleanUp)}, ${bytes(disk.free_bytes)} free${left}`, LEVELS[disk.level]);
  const [first, second, last] = disk.limits.map((share) => percent(share));
  mark(find("disk-note"), "title", `clean-up above ${first}, emergency above ${second}, only recording above ${last}`);
  meter(find("disk-meter"), disk.used_share, cleanUp, emergency);
}

/** Show a share from 0 to 1 on a meter, which changes colour at `odd` and at `bad`. */
function meter(element, share, odd, bad) {
  element.hidden = share === null;
  if (share === null) return;
  Object.assign(element, { low: odd, high: bad, optimum: 0, value: share });
}

const makePairs = (name) => new Rows(find(name), (row) => row.name, (row) => {
  const pair = make("div", "", make("dt", "", row.name), make("dd", "", make("span", "dot"), make("b"), make("span")));
  return pair;
}, (pair, row) => {
  const [, main, more] = pair.lastChild.children;
  write(main, row.main);
  write(more, row.more);
  mark(pair, "data-state", row.state ?? "");
});
const pairs = makePairs("store-rows");
const rolledOut = makePairs("rollout-rows");

/** A row for each store: the files, the sinks, Redis. Unknown figures stay empty; the tooltip of a row shows the rest. */
const kept = new Rows(find("kept-rows"), (row) => row.store, () => tableRow(["", "", "n", "n", "n"]), (row, item) => {
  const known = (value, text) => (value === null || value === undefined ? "" : text(value));
  fill(row, [item.store, item.state.split(": ")[0], known(item.size_bytes, bytes), known(item.connections, (open) => `${whole(item.busy)}/${whole(open)}`),
             known(item.p99_ms, (ms) => ms.toFixed(ms < 10 ? 1 : 0))]);
  mark(row.children[1], "data-state", item.works ? "" : "bad");
  mark(row, "title", [item.state, known(item.parts, (parts) => `${whole(parts)} parts`),
                      known(item.compression_ratio, (ratio) => `compressed ${ratio.toFixed(1)} times`),
                      known(item.cache_hit_ratio, (share) => `${percent(share)} of the reads from memory`)].filter(Boolean).join(", "));
});

export function showStores({ journal, recent, sinks, stores, backfill, channels, windows, rollout }) {
  const rows = [
    { name: "journal", main: `${whole(journal.durable)} trades`, more: bytes(journal.bytes) },
    { name: "memory", main: `${whole(recent.trades)} trades`, more: `${bytes(recent.bytes)}, ${whole(recent.minutes)} min` },
    ...sinks.map(({ name, state, backlog_trades: backlog }) => ({ name: `sink ${name}`, main: state, more: `${whole(backlog)} trades to send`,
      state: state === "up" ? (backlog > 1e6 ? "odd" : "good") : state === "starting" || state.startsWith("refilling") ? "odd" : "bad" })),
    ...channels.map(({ name, up, sent, waiting, reason }) => ({ name: `notify ${name}`, main: up ? "up" : "down",
      more: up ? `${whole(sent)} sent, ${whole(waiting)} wait` : reason, state: up ? "good" : "odd" })),
    { name: "windows", main: `${whole(windows.open)} open`, more: `${whole(windows.not_final)} not final` },
  ];
  if (backfill.enabled !== undefined) rows.splice(2, 0, backfillRow(backfill));
  pairs.show(rows);
  kept.show(stores);
  showRollout(rollout);
}

function backfillRow(backfill) {
  if (!backfill.enabled) return { name: "backfill", main: "off", more: "gaps stay open" };
  if (!backfill.left) return { name: "backfill", main: "nothing to do", more: `${whole(backfill.trades)} trades fetched` };
  return { name: "backfill", main: `${whole(backfill.left)} symbols left`, more: `about ${duration(backfill.left_s)}`, state: "odd" };
}

/** Show the roll-out of a sink with its phase, share and differences; hide the section without one. */
function showRollout(rollout) {
  find("rollout").hidden = !rollout.sink;
  if (!rollout.sink) return;
  const kinds = Object.entries(rollout.differences).filter(([, number]) => number);
  const state = { running: "good", done: "good", "rolled back": "bad" }[rollout.status] ?? "odd";
  const rows = [
    { name: rollout.sink, main: rollout.status, more: rollout.reason, state },
    { name: "share", main: `${whole(rollout.percent)} %`, more: `of the instruments, for ${duration(rollout.ran_s)}` },
    { name: "compared", main: `${whole(rollout.trades)} trades`, more: `${whole(rollout.queries)} queries, ${whole(rollout.failed)} failed` },
    { name: "differences", main: kinds.length ? "" : "none", more: kinds.map(([kind, number]) => `${kind}: ${whole(number)}`).join(", "),
      state: kinds.length ? "odd" : "" },
  ];
  if (rollout.last_difference) rows.push({ name: "the last", main: `${clock(rollout.last_difference_ms)} UTC`, more: rollout.last_difference });
  rolledOut.show(rows);
}
