// Signing in: the browser has asked for the token once, and a session stands for it from then on.

/** Begin a session where the token let this page in. Nothing of the page depends on it: the browser goes on sending the token. */
export async function keepSession() {
  try {
    const answer = await fetch("api/session");
    if (answer.ok && (await answer.json()).by === "token") await fetch("api/session", { method: "POST" });
  } catch {
    // the collector is away, which the page says elsewhere
  }
}
