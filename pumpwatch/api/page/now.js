// The collector's clock, which may differ from the browser's.

let ahead = 0;

/** Set the collector's time, in ms since 1970. */
export function setNow(ms) {
  ahead = ms - Date.now();
}

/** Return the collector's time now, in ms since 1970. */
export const serverNow = () => Date.now() + ahead;
