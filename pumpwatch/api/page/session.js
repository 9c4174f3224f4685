// Sign in: the browser has prompted for the token, and a session replaces it from then on.

/** Start a session if the browser sent the token. The page works without it, because the browser keeps sending the token. */
export async function keepSession() {
  try {
    const answer = await fetch("api/session");
    if (answer.ok && (await answer.json()).by === "token") await fetch("api/session", { method: "POST" });
  } catch {
    // page.js shows that the collector is gone
  }
}
