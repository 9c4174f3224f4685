// Receive the collector's events, and detect whether it still answers.

const SILENT_MS = 5_000;  // the collector sends each second
const DEAD_MS = 15_000;  // a connection that is silent for this long is reopened
const AGAIN_MS = 2_000;

/**
 * Listen for the topics of `handlers` (topic -> function of its data). Call `onState` each second with the state, "opening",
 * "live", "late" (no figures for a while) or "gone" (not reachable), and the time of the last event (performance.now, in ms).
 */
export function listen(url, handlers, onState) {
  let source = null;
  let heardAt = null;
  let openedAt = performance.now();
  let failed = false;

  const heard = () => { heardAt = performance.now(); failed = false; };

  function open() {
    source?.close();
    openedAt = performance.now();
    source = new EventSource(url);
    for (const [topic, handler] of Object.entries(handlers)) {
      source.addEventListener(topic, (event) => {
        heard();
        handler(JSON.parse(event.data));
        if (topic === "figures") reportState();
      });
    }
    source.onerror = () => { failed = true; reportState(); };
  }

  function reportState() {
    const now = performance.now();
    const quietMs = heardAt === null ? now : now - heardAt;
    const state = failed ? "gone" : heardAt === null ? "opening" : quietMs > SILENT_MS ? "late" : "live";
    onState(state, heardAt);
  }

  function watch() {
    const now = performance.now();
    const closed = source.readyState === EventSource.CLOSED;  // rejected, for example because of too many watchers
    const quietMs = now - Math.max(heardAt ?? 0, openedAt);
    if ((closed && now - openedAt > AGAIN_MS) || quietMs > DEAD_MS) open();
    reportState();
  }

  open();
  setInterval(watch, 1000);
  document.addEventListener("visibilitychange", () => document.hidden || watch());
}
