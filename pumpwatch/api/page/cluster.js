// The members of this collector's cluster; hidden without a cluster.

import { Rows, fill, find, make, mark, tableRow, write } from "./dom.js";
import { duration, whole } from "./format.js";

const EVERY_MS = 3_000;
const SILENT_S = 5;  // since the last answer of Redis
const CLASSES = ["", "", "n", "n", ""];
const STATES = { in: "good", leaving: "odd", dead: "bad" };

/** Show the members now, every few seconds, and when the page is looked at again. */
export function showCluster() {
  const rows = new Rows(find("member-rows"), ({ member }) => member, () => {
    const row = tableRow(CLASSES);
    row.children[0].append(make("span"), make("small"));
    row.children[4].append(make("span", "dot"), make("span"));
    return row;
  }, (row, { member, host, shards, roles, expires_s: left, state }) => {
    const [name, place] = row.children[0].children;
    write(name, member);
    write(place, host === member ? "" : host);
    fill(row, [undefined, roles.join(" "), whole(shards), left > 0 ? left.toFixed(1) : "over", undefined]);
    mark(row.children[4], "data-state", STATES[state] ?? "odd");
    write(row.children[4].lastChild, state);
  });

  let timer = null;

  async function ask() {
    if (document.hidden) return;
    try {
      const answer = await fetch("api/cluster");
      if (!answer.ok) return;
      const { name, member, state, last_answer_s: silent, members } = await answer.json();
      find("cluster").hidden = !name;
      if (!name) {
        clearInterval(timer);  // this does not change before the next start, after which the page reloads
        document.removeEventListener("visibilitychange", ask);
        return;
      }
      write(find("cluster-head"), `Cluster ${name}`);
      write(find("cluster-note"), silent > SILENT_S ? `${member} is ${state}; Redis answered last ${duration(silent)} ago` : "");
      rows.show(members.map((row) => ({ ...row, expires_s: row.expires_s - silent })));  // they are of Redis' last answer
    } catch {
      // the page itself shows that the collector is gone
    }
  }

  timer = setInterval(ask, EVERY_MS);
  document.addEventListener("visibilitychange", ask);
  ask();
}
