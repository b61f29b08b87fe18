// What is fetched, and how failures reach people.

const MOST_LETTERS = 600; // of what another server says
const BUSY = [429, 503];
const RETRY_SECONDS = 0.6;
const MOST_RETRY_SECONDS = 60;
const MOST_TRIES = 20;

/** A failure with a message for people. */
export class Failure extends Error {
  /** retryAfter: seconds that a busy server asks to wait, or null. */
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }

  get busy() {
    return BUSY.includes(this.status);
  }
}

const SILENT = "The server does not answer. Is it still running?";

/** The answer to a request if it is a good one; `silent` is said where there is none. */
export async function answer(url, options, silent = SILENT) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Failure(silent);
  }
  if (response.ok) return response;
  const message = await response.json().catch(() => ({}));
  const text = message.error ?? `The server answered ${response.status} for ${url}.`;
  const seconds = Number(response.headers.get("Retry-After")) || null;
  throw new Failure(text.slice(0, MOST_LETTERS), response.status, seconds);
}

export async function getJson(url, silent) {
  return (await answer(url, {}, silent)).json();
}

export async function getBytes(url) {
  return new Uint8Array(await (await answer(url)).arrayBuffer());
}

/** Waits until a busy server may be asked again, pages not all at once; `told` gets the seconds. */
export function untilFree(failure, told) {
  const seconds = Math.min(failure.retryAfter ?? RETRY_SECONDS, MOST_RETRY_SECONDS);
  told(seconds);
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000 * (1 + Math.random() / 4)));
}

/** What an async function gives, asked again while the server is busy. */
export async function patiently(ask, told) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (!error.busy || tries === MOST_TRIES) throw error;
      await untilFree(error, told);
    }
  }
}
