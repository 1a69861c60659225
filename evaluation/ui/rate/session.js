// One rater's session on the server. The link's fragment is its token, which no log of a server
// or proxy sees: /rate/STUDY joins, /rate/STUDY#TOKEN goes on.

const API = "/rating";
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;

export class Refused extends Error {
  constructor(status, kind, told) {
    super(told);
    this.status = status;
    this.kind = kind;
    this.told = told;
  }
}

export async function openSession() {
  const study = location.pathname.split("/").filter(Boolean).at(-1);
  const known = `ltx2-rater-${study}`;
  let token = decodeURIComponent(location.hash.slice(1)) || localStorage.getItem(known);
  let first = null;
  if (!token) {
    const joined = await ask("POST", `/studies/${encodeURIComponent(study)}/sessions`);
    token = joined.token;
    first = joined.state;
  }
  localStorage.setItem(known, token);
  history.replaceState(null, "", `#${encodeURIComponent(token)}`);
  const call = (method, path, body) => ask(method, `/session${path}`, body, token);
  const session = {
    state: () => call("GET", ""),
    consent: () => call("POST", "/consent"),
    checks: (found) => call("POST", "/checks", found),
    played: (sent) => call("POST", "/played", sent),
    vote: (sent) => call("POST", "/vote", sent),
    back: () => call("POST", "/back"),
    rested: () => call("POST", "/rested"),
    guesses: (sent) => call("POST", "/guesses", sent),
    clip: (id, name) => `${API}/clips/${encodeURIComponent(id)}/${encodeURIComponent(name)}`,
  };
  return { session, first: first ?? (await session.state()) };
}

// A lost connection is tried again: every call may be repeated without doing anything twice.
async function ask(method, path, body, token) {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(API + path, {
        method,
        headers: {
          "Content-Type": "application/json",
          ...(token ? { Authorization: `Bearer ${token}` } : {}),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const content = await answer.json().catch(() => null);
      if (answer.ok) return content;
      const waits = answer.status === 429 || answer.status === 503;
      const told = content?.error && `${content.error.message} ${content.error.next_step}`;
      if (!waits || attempt === ATTEMPTS) throw new Refused(answer.status, content?.error?.type, told);
      await pause(1000 * Number(answer.headers.get("Retry-After") ?? attempt));
    } catch (error) {
      if (error instanceof Refused || attempt === ATTEMPTS) throw error;
      await pause(FIRST_PAUSE_MS * 2 ** attempt);
    }
  }
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
