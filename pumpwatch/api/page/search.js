// The search for a coin: `/` focuses it, arrows choose, Enter opens, Escape leaves.

import { find, make } from "./dom.js";

const SHOWN = 8;

/** Return the coins that match the typed text, best first: exact, then by prefix, then anywhere. */
export function matching(coins, typed) {
  const wanted = typed.trim().toUpperCase();
  if (!wanted) return [];
  const grade = (coin) => (coin === wanted ? 0 : coin.startsWith(wanted) ? 1 : coin.includes(wanted) ? 2 : 3);
  return coins.map((coin) => [grade(coin), coin]).filter(([worst]) => worst < 3)
    .sort(([a, first], [b, second]) => a - b || first.length - second.length || (first < second ? -1 : 1))
    .slice(0, SHOWN).map(([, coin]) => coin);
}

/** Set up the search; return a function that takes the list of known coins. `open` is called with a chosen coin. */
export function search(open) {
  const input = find("coin");
  const list = find("coins");
  let coins = [];
  let chosen = -1;

  function show() {
    const found = matching(coins, input.value);
    chosen = found.length ? 0 : -1;
    list.replaceChildren(...found.map((coin, number) => {
      const option = make("li", "", coin);
      option.id = `coin-${number}`;
      option.setAttribute("role", "option");
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(coin); });
      return option;
    }));
    paint();
  }

  function paint() {
    list.hidden = !list.children.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    [...list.children].forEach((option, number) => option.setAttribute("aria-selected", String(number === chosen)));
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `coin-${chosen}`);
  }

  function close() {
    list.replaceChildren();
    chosen = -1;
    paint();
  }

  function choose(coin) {
    input.value = "";
    close();
    input.blur();
    open(coin);
  }

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.children.length) {
      chosen = (chosen + step + list.children.length) % list.children.length;
      paint();
    } else if (event.key === "Escape") {
      if (!input.value) input.blur();
      input.value = "";
      close();
    } else if (!step) return;
    event.preventDefault();
  });
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const coin = list.children[chosen]?.textContent ?? input.value.trim().toUpperCase();
    if (coin) choose(coin);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    input.focus();
  });
  return (known) => { coins = known; };
}
