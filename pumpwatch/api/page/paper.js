// The last paper runs, each a link to its page.

import { Rows, find, make, mark, write } from "./dom.js";
import { change, moment, percent, whole } from "./format.js";

const EVERY_MS = 60_000;
const SHOWN = 20;
const COINS = 3;

const money = (text) => `${text.startsWith("-") ? "\u2212" : "+"}${Math.abs(Number(text)).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;

/** Return the result of a delay; for several listings the median and the share that lost. */
function delayInWords(row, several) {
  const delay = `${whole(row.delay_ms)} ms`;
  if (!row.entered) return `${delay} no entry`;
  if (!several) return `${delay} ${change(row.median_percent)}, ${money(row.pnl)}`;
  return `${delay} median ${change(row.median_percent)}, ${percent(row.lost_share)} lost, ${money(row.pnl)}`;
}

function coinsInWords(run) {
  const more = Math.max(run.coins.length, run.summary.listings) - COINS;
  return run.coins.slice(0, COINS).join(", ") + (more > 0 ? ` and ${whole(more)} more` : "");
}

/** Show the last runs now, each minute, and when the page becomes visible again. */
export function showPaperRuns() {
  const rows = new Rows(find("paper-rows"), ({ run, made_ms: made }) => `${run.run_id} ${made}`, () => {
    const link = make("a", "", make("b"), make("span", "what"), make("span", "when"), make("span", "delays"));
    link.target = "_blank";
    link.rel = "noopener";
    return make("li", "", link);
  }, (row, { run, made_ms: made, files }) => {
    const link = row.firstChild;
    const [coins, what, when, delays] = link.children;
    mark(link, "href", files["run.html"].slice(1));  // relative to the page, like every URL here
    write(coins, coinsInWords(run));
    write(what, run.strategy);
    write(when, moment(made));
    delays.replaceChildren(...run.summary.delays.map((item) => {
      const text = make("span", "", delayInWords(item, run.summary.listings > 1));
      if (item.entered) mark(text, "data-side", item.median_percent < 0 ? "sell" : "buy");
      return text;
    }));
  });

  async function ask() {
    if (document.hidden) return;
    try {
      const answer = await fetch(`api/paper/runs?limit=${SHOWN}`);
      if (!answer.ok) return;
      const { runs } = await answer.json();
      find("paper").hidden = !runs.length;
      rows.show(runs);
    } catch {
      // page.js shows that the collector is gone
    }
  }

  ask();
  setInterval(ask, EVERY_MS);
  document.addEventListener("visibilitychange", ask);
}
