// The table of venues, with a line chart of the last five minutes for each.

import { Rows, fill, find, make, mark, tableRow } from "./dom.js";
import { age, rate, whole } from "./format.js";
import { spark } from "./spark.js";

export const SPAN_S = 300;
const CLASSES = ["", "n", "line", "n", "n far", "n far", "n mid", "n mid", "n", "n far", "n far", "n far"];

/** The rates of the last minutes by venue, one per second; "" is the sum of all. */
export class History {
  constructor() {
    this.series = new Map();
    this.end = 0;
  }

  /** Load the collector's history: {end, venues: {name: [rate, ...]}}. */
  load({ end, venues }) {
    this.series = new Map(Object.entries(venues));
    this.end = end;
  }

  /** Add the rates of one second, as [name, rate] pairs; missed seconds stay empty. */
  add(second, rates) {
    const missed = Math.min(SPAN_S, second - this.end - 1);
    if (second <= this.end) return;
    for (const [name, value] of rates) {
      const values = this.series.get(name) ?? [];
      for (let number = 0; number < missed; number += 1) values.push(null);
      values.push(value);
      this.series.set(name, values.slice(-SPAN_S));
    }
    this.end = second;
  }

  draw(canvas, name) {
    spark(canvas, this.series.get(name) ?? [], SPAN_S, this.end);
  }
}

/** Return whether other collectors of the cluster read all symbols of a venue. */
const isReadElsewhere = (venue) => !venue.of && !venue.symbols && venue.elsewhere > 0;

/** Return the worst state in a venue's row: "bad", "odd" or "". */
export function stateOf(venue) {
  if (isReadElsewhere(venue)) return "";
  if (!venue.of || (venue.up < venue.of && (venue.down_s > 30 || !venue.up))) return "bad";
  return venue.up < venue.of || venue.silent || venue.problem || venue.lag_ms > 5000 ? "odd" : "";
}

export function venueTable(history) {
  const rows = new Rows(find("venue-rows"), (venue) => venue.name, (venue) => {
    const row = tableRow(CLASSES);
    const [exchange, market] = venue.name.split(".");
    row.children[0].append(make("span", "dot"), make("span", "", exchange), make("i", "", market));
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    row.children[2].append(canvas);
    return row;
  }, (row, venue) => {
    fill(row, [undefined, rate(venue.rate), undefined, `${venue.up}/${venue.of}`, age(venue.age_s), age(venue.quiet_s),
               venue.subscribed === venue.symbols ? whole(venue.symbols) : `${whole(venue.subscribed)}/${whole(venue.symbols)}`,
               whole(venue.silent), whole(venue.lag_ms), whole(venue.open), whole(venue.filled), whole(venue.lost)]);
    const state = stateOf(venue);
    mark(row, "data-state", state);
    mark(row, "title", venue.problem);
    mark(row.children[0].firstChild, "title", state ? venue.problem || "see the figures in this row"
         : isReadElsewhere(venue) ? "other collectors read it" : "it is recorded");

    mark(row.children[3], "data-state", venue.up < venue.of ? state : "");
    mark(row.children[7], "data-state", venue.silent ? "odd" : "");
    mark(row.children[8], "data-state", venue.lag_ms > 5000 ? "odd" : "");
    mark(row.children[9], "data-state", venue.open ? "odd" : "");
    mark(row.children[11], "data-state", venue.lost ? "odd" : "");
    const canvas = row.children[2].firstChild;
    history.draw(canvas, venue.name);
    mark(canvas, "aria-label", `${venue.name}: trades a second over five minutes`);
  });
  return (venues) => rows.show(venues);
}
