// The page: shows the collector's events, and opens the views of a coin and of a listing.

import { showCluster } from "./cluster.js";
import { coinView } from "./coin.js";
import { find, mark, write } from "./dom.js";
import { age, clock, duration } from "./format.js";
import { listingView } from "./listing.js";
import { listingList, showBoards, showJobs, showLog } from "./lists.js";
import { setNow } from "./now.js";
import { showPaperRuns } from "./paper.js";
import { search } from "./search.js";
import { keepSession } from "./session.js";
import { showStores, showTiles } from "./stores.js";
import { listen } from "./stream.js";
import { History, venueTable } from "./venues.js";

const history = new History();
const showVenues = venueTable(history);
const latest = { figures: null, listings: [], jobs: [], boards: [] };

const go = (view, name) => { location.hash = `#/${view}/${encodeURIComponent(name)}`; };
const showListings = listingList((item) => go("listing", item.id));
const showCoins = search((coin) => go("coin", coin));

/** A view is open while the URL names it, so that reloads, the back button and links work. */
const views = { coin: coinView(find("coin-view")), listing: listingView(find("listing-view"), () => latest.listings) };

function follow() {
  const [, view, name] = location.hash.split("/");
  for (const [key, { dialog, open, close }] of Object.entries(views)) {
    if (key === view && name) {
      if (!dialog.open) dialog.showModal();
      open(decodeURIComponent(name));
    } else if (dialog.open) {
      close();
      dialog.close();
    }
  }
}

for (const { dialog, close } of Object.values(views)) {
  dialog.addEventListener("close", () => {
    close();
    if (location.hash) window.history.pushState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
addEventListener("hashchange", follow);

function showFigures(figures) {
  if (!figures.venues) return;  // the collector is starting
  const before = latest.figures;
  if (before && before.version !== figures.version) location.reload();  // another version may have another page
  latest.figures = figures;
  setNow(figures.at_ms);
  history.add(figures.second, [["", figures.rate], ...figures.venues.map((venue) => [venue.name, venue.rate])]);
  showTiles(figures, history);
  showVenues(figures.venues);
  showStores(figures);
  write(find("about"), `${figures.version}, up ${duration(figures.up_s)}`);
}

/** Show whether the collector answers, and how old its figures are. */
function showState(state, heardAt) {
  const quiet = heardAt === null ? null : (performance.now() - heardAt) / 1000;
  const words = { opening: "connecting", live: "live", late: `no figures for ${age(quiet)}`, gone: "gone" };
  mark(find("link"), "data-state", state);
  mark(document.body, "data-link", state);
  write(find("link-text"), words[state]);
  const gone = find("gone");
  const text = state === "gone"
    ? "The collector has gone away: it does not answer. This page reconnects automatically."
    : state === "late" ? "The collector is silent: it is connected but sends no figures." : "";
  if (gone.hidden !== !text) gone.hidden = !text;
  if (!text) return;
  if (!gone.children.length) gone.append(document.createElement("b"), document.createElement("span"));
  write(gone.firstChild, text);  // screen readers announce each change, so the seconds are in another element
  mark(gone.lastChild, "aria-hidden", "true");
  write(gone.lastChild, heardAt === null ? "" : ` Its last figures are ${duration(quiet)} old (${clock(Date.now() - quiet * 1000)} UTC).`);
}

listen("api/stream", {
  history: (data) => history.load(data),
  figures: showFigures,
  listings: (items) => { showListings((latest.listings = items)); views.listing.changed(); },
  boards: (items) => showBoards((latest.boards = items)),
  jobs: (items) => showJobs((latest.jobs = items)),
  log: showLog,
  coins: showCoins,
}, showState);

setInterval(() => {  // ages grow between two events
  if (document.hidden) return;
  showListings(latest.listings);
  showBoards(latest.boards);
  showJobs(latest.jobs);
}, 1000);

showPaperRuns();
showCluster();
follow();
keepSession();
