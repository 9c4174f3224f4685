// The collector's clock: this machine's may differ from it.

let ahead = 0;

/** Take up the collector's time, in ms since 1970. */
export function setNow(ms) {
  ahead = ms - Date.now();
}

/** Return the collector's time now, in ms since 1970. */
export const serverNow = () => Date.now() + ahead;
