// What is fetched, and how failures reach people.

const MOST_LETTERS = 600; // of what another server says

/** A failure with a message for people. */
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
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
  throw new Failure(text.slice(0, MOST_LETTERS), response.status);
}

export async function getJson(url, silent) {
  return (await answer(url, {}, silent)).json();
}

export async function getBytes(url) {
  return new Uint8Array(await (await answer(url)).arrayBuffer());
}
