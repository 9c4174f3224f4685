// Lists that change now and then: listings, listing sources, jobs, and the log's last warnings.

import { Rows, fill, find, make, mark, tableRow, write } from "./dom.js";
import { NONE, age, clock, duration, moment, whole } from "./format.js";
import { serverNow } from "./now.js";

const secondsSince = (ms) => (serverNow() - ms) / 1000;

// Ages below NOW_S are shown as a word, so that they do not change each second.
const NOW_S = 10;
const ago = (ms) => (secondsSince(ms) < NOW_S ? "now" : `${age(secondsSince(ms))} ago`);
const until = (ms) => (-secondsSince(ms) < NOW_S ? "soon" : `in ${age(-secondsSince(ms))}`);

/** Return a function that shows listings; `open` is called with a chosen listing. */
export function listingList(open) {
  const rows = new Rows(find("listing-rows"), (item) => item.id, (item) => {
    const button = make("button", "", make("b"), make("span", "what"), make("span", "when"), make("span", "title"));
    button.type = "button";
    const row = make("li", "", button);
    button.addEventListener("click", () => open(row.item));
    return row;
  }, (row, item) => {
    row.item = item;
    const [coin, what, when, title] = row.firstChild.children;
    write(coin, item.coin);
    write(what, windowInWords(item));
    write(when, moment(item.announced_ms));
    write(title, item.drill ? `drill, ${item.source}: ${item.title}` : `${item.source}: ${item.title}`);
    mark(row, "data-state", item.problem ? "odd" : item.archive ? "good" : "busy");
  });
  return (items) => {
    find("listing-none").hidden = items.length > 0;
    rows.show(items);
  };
}

function windowInWords(item) {
  if (item.archive) return `${whole(item.trades)} trades`;
  if (item.problem) return "no archive";
  const left = -secondsSince(item.ends_ms);
  return left > 0 ? `window, ${duration(left)} left` : "archive pending";
}

const boards = new Rows(find("board-rows"), (board) => board.name, () => {
  const row = tableRow(["", "", "n"]);
  row.children[1].append(make("span", "dot"), make("span"));
  return row;
}, (row, board) => {
  write(row.children[0], board.name);
  write(row.children[1].lastChild, board.up ? (board.push ? "pushes" : "polled") : board.reason || "not asked yet");
  write(row.children[2], board.answered_ms ? ago(board.answered_ms) : NONE);
  mark(row, "data-state", board.up ? "good" : board.reason ? "bad" : "");
});

export const showBoards = (items) => boards.show(items);

const jobs = new Rows(find("job-rows"), (job) => job.name, () => {
  const row = tableRow(["", "n", "n"]);
  row.children[0].append(make("span"), make("small"));
  return row;
}, (row, job) => {
  const runs = job.last_at && job.took_s === null;
  const [name, error] = row.children[0].children;
  write(name, job.name);
  write(error, job.error);
  fill(row, [undefined, job.last_at ? ago(Date.parse(job.last_at)) : NONE, runs ? "runs" : job.next_at ? until(Date.parse(job.next_at)) : NONE]);
  mark(row, "data-state", job.error ? "bad" : "");
});

export const showJobs = (items) => jobs.show(items);

const log = new Rows(find("log-rows"), (line) => line.number, (line) => {
  const row = make("li", "", make("time"), make("b", "", line.level), make("i", "", line.part), make("span"), make("small"));
  mark(row, "data-state", line.level === "WARNING" ? "odd" : "bad");
  return row;
}, (row, line) => {
  const [time, , , text, times] = row.children;
  write(time, clock(line.at_ms));
  mark(time, "title", `${moment(line.at_ms)} UTC`);
  write(text, line.text);
  write(times, line.times > 1 ? `× ${whole(line.times)}` : "");
});

/** Show lines, the newest first. */
export function showLog(lines) {
  find("log-none").hidden = lines.length > 0;
  log.show([...lines].reverse());
}
