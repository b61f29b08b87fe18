// Talks to the server: predictions in TensorFlow Serving's REST form, files as they are.

const PREDICT = "/v1/models/oasis:predict";
const CLIENT = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16)).join("");
const RETRY_MS = 600;
const BUSY = [429, 503];

/** A failure with a message for people. */
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Failure("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const message = await response.json().catch(() => ({}));
  throw new Failure(message.error ?? `The server answered ${response.status}.`, response.status);
}

async function toB64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return { b64: btoa(text) };
}

/** Bytes of `{ b64 }`. */
export function fromB64({ b64 }) {
  return Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
}

async function instanceOf(inputs) {
  const entries = Object.entries(inputs).map(async ([name, value]) => [
    name,
    value instanceof Blob ? await toB64(value) : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/** Asks for one prediction; blobs among the inputs travel as base64. */
export async function predict(signature, inputs, client = CLIENT) {
  const body = { signature_name: signature, instances: [await instanceOf(inputs)] };
  const response = await answer(PREDICT, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Client": client },
    body: JSON.stringify(body),
  });
  const timing = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  const { predictions } = await response.json();
  return { prediction: predictions[0], modelMs: timing ? Number(timing[1]) : null };
}

export async function getJson(path) {
  return (await answer(path)).json();
}

export async function getBytes(path) {
  return new Uint8Array(await (await answer(path)).arrayBuffer());
}

/** Hands in a file; `most` is the largest size, in bytes, that the server takes. */
export async function upload(path, file, most) {
  if (file.size > most) {
    const megabytes = (most / 2 ** 20).toFixed(0);
    throw new Failure(`${file.name} is too large: files may have ${megabytes} MB at most.`, 413);
  }
  return (await answer(path, { method: "POST", body: file })).json();
}

/**
 * Asks for the newest picture only: one request is under way at a time; whatever was wished for
 * meanwhile is asked for once, as it is when the answer comes.
 */
export class Newest {
  #busy = false;
  #wanted = false;

  /**
   * ask: async function that sends the present state; done(result, milliseconds); failed(error);
   * working(boolean); pause: milliseconds that wishes are gathered before the first is sent.
   */
  constructor({ ask, done, failed, working, pause = 20 }) {
    Object.assign(this, { ask, done, failed, working, pause });
  }

  want() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    this.working(true);
    setTimeout(() => this.#run(), this.pause);
  }

  async #run() {
    while (this.#wanted) {
      this.#wanted = false;
      const start = performance.now();
      try {
        const result = await this.ask();
        await this.done(result, performance.now() - start);
      } catch (error) {
        if (BUSY.includes(error.status)) {
          this.#wanted = true;
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        } else if (error.status !== 409) {
          this.failed(error);
        }
      }
    }
    this.#busy = false;
    this.working(false);
  }
}
