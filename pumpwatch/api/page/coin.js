// A coin's last price and trades on every venue, while its view is open.

import { Rows, fill, find, mark, tableRow, write } from "./dom.js";
import { age, change, clock, digits, price, quantity } from "./format.js";
import { serverNow } from "./now.js";

const EVERY_MS = 1000;
const SHOWN = 40;
const NS_PER_MS = 1e6;

/** Return the last price of each market per coin, with its distance from the median of all markets. */
function marketsOf(symbols) {
  const found = symbols.map(({ exchange, market_type: market, symbol, multiplier, price: last, at_ns: at, trades }) => ({
    venue: `${exchange}.${market}`, symbol, price: last === null ? null : last / multiplier, side: trades.at(-1)?.side,
    ageS: at === null ? null : (serverNow() - at / NS_PER_MS) / 1000 }));
  const sorted = found.map((market) => market.price).filter((value) => value !== null).sort((a, b) => a - b);
  const median = sorted.length ? (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2 : null;
  return found.map((market) => ({ ...market, off: market.price === null || !median ? null : 100 * (market.price / median - 1) }));
}

/** Return the last trades of all markets, the newest first. */
function tradesOf(symbols) {
  return symbols.flatMap(({ exchange, market_type: market, symbol, multiplier, trades }) => trades.map((trade) => ({
    key: `${exchange} ${market} ${symbol} ${trade.trade_id}`, venue: `${exchange}.${market}`, at: trade.timestamp / NS_PER_MS,
    price: trade.price / multiplier, quantity: trade.quantity * multiplier, side: trade.side })))
    .sort((a, b) => b.at - a.at || (a.key < b.key ? 1 : -1)).slice(0, SHOWN);
}

export function coinView(dialog) {
  let coin = "";
  let timer = 0;
  let asking = null;
  let places = 0;  // digits after the point, the same for all prices of the coin

  const prices = new Rows(find("coin-prices"), (market) => `${market.venue} ${market.symbol}`,
    () => tableRow(["", "n", "n", "n"]),
    (row, market) => {
      fill(row, [market.venue, price(market.price, places), change(market.off), age(market.ageS)]);
      mark(row, "title", market.symbol);
      mark(row.children[1], "data-side", market.side);
    });
  const tape = new Rows(find("coin-trades"), (trade) => trade.key, () => tableRow(["", "", "n", "n"]),
    (row, trade) => {
      fill(row, [clock(trade.at, 3), trade.venue, price(trade.price, places), quantity(trade.quantity)]);
      mark(row, "data-side", trade.side);
    });

  async function ask() {
    const wanted = coin;
    asking = new AbortController();
    try {
      const answer = await fetch(`api/trades/recent?coin=${encodeURIComponent(wanted)}`, { signal: asking.signal });
      const body = await answer.json();
      if (wanted !== coin) return;
      if (answer.ok) show(body);
      else if (answer.status === 404) showNone(`None of the collected venues lists ${wanted}.`);
      else note(body.detail ?? `The collector answers with status ${answer.status}.`);
    } catch (error) {
      if (error.name !== "AbortError") note("The collector does not answer.");
    }
    if (wanted === coin) timer = setTimeout(ask, document.hidden ? 10 * EVERY_MS : EVERY_MS);
  }

  const note = (text) => write(find("coin-note"), text);

  /** Show a text instead of the tables; without a text, show the tables. */
  function showNone(text) {
    const none = find("coin-none");
    write(none, text);
    none.hidden = !text;
    for (const table of dialog.querySelectorAll("table")) table.hidden = Boolean(text);
    if (text) note("");
  }

  function show(body) {
    showNone("");
    const markets = marketsOf(body.symbols).sort((a, b) => (a.venue < b.venue ? -1 : 1));
    const trades = tradesOf(body.symbols);
    places = Math.max(places, ...[...markets, ...trades].map((row) => digits(row.price)));
    note(`${markets.length} markets; prices per coin; times by the venues' clocks`);
    prices.show(markets);
    tape.show(trades);
  }

  function open(name) {
    if (name === coin) return;
    close();
    coin = name;
    places = 0;
    write(find("coin-name"), coin);
    showNone("");
    note("loading");
    prices.show([]);
    tape.show([]);
    ask();
  }

  function close() {
    coin = "";
    clearTimeout(timer);
    asking?.abort();
  }

  return { dialog, open, close };
}
