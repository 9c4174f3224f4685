// Format figures as text. Every function returns "–" for unknown values.

export const NONE = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** 12,345 */
export const whole = (value) => (known(value) ? WHOLE.format(value) : NONE);

/** A rate: 0, 0.4, 12, 1,234 */
export const rate = (value) => (!known(value) ? NONE : value > 0 && value < 9.95 ? value.toFixed(1) : WHOLE.format(value));

/** 1.2 GB */
export function bytes(value) {
  if (!known(value)) return NONE;
  for (const [unit, size] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (value >= size) return `${(value / size).toFixed(value >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${WHOLE.format(value)} B`;
}

/** 0.73 as 73 % */
export const percent = (value, places = 0) => (known(value) ? `${(100 * value).toFixed(places)} %` : NONE);

/** A change: +1.25 %, −0.40 % */
export const change = (value, places = 2) => (known(value) ? `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(places)} %` : NONE);

/** Seconds as 0.4 s, 12 s, 3 m 20 s, 2 h 5 m, 4 d 3 h */
export function duration(seconds) {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Seconds in one unit, for a narrow column: 12 s, 3 m, 2 h, 4 d */
export function age(seconds) {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) if (s >= 2 * size) return `${Math.floor(s / size)} ${unit}`;
  return `${s} s`;
}

/** A time in ms since 1970 as 10:20:33, UTC, with `places` decimals of the second */
export function clock(ms, places = 0) {
  return known(ms) && ms > 0 ? new Date(ms).toISOString().slice(11, places ? 20 + places : 19) : NONE;
}

/** A time in ms since 1970 as 2026-11-28 10:20:33, UTC */
export function moment(ms) {
  return known(ms) && ms > 0 ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : NONE;
}

/** The number of decimals of a price with at most seven significant digits */
export function digits(value) {
  return known(value) ? price(value).split(".")[1]?.length ?? 0 : 0;
}

/** A price with at most seven significant digits, or with `places` decimals */
export function price(value, places) {
  if (!known(value)) return NONE;
  if (places !== undefined) return value.toFixed(Math.min(places, 20));
  const text = Number(value.toPrecision(7)).toString();
  if (!text.includes("e")) return text;
  return value.toFixed(Math.min(20, Math.max(0, 6 - Math.floor(Math.log10(Math.abs(value))))));
}

/** A quantity: 705.61M, 12,345, 12.35, 0.00120 */
export function quantity(value) {
  if (!known(value)) return NONE;
  if (Math.abs(value) >= 1e7) return SHORT.format(value);
  if (Math.abs(value) >= 1000) return WHOLE.format(value);
  return value === 0 ? "0" : Number(value.toPrecision(4)).toString().includes("e") ? value.toPrecision(3) : Number(value.toPrecision(4)).toString();
}
