// What pages share that generate from seeds: a state that is the page's address, the newest request,
// and what is shown of it. Such a page has the elements `frame`, `busy-text` and `latency`.

import { fromB64 } from "./base64.js";
import { Failure } from "./fetching.js";
import { complain, speak } from "./messages.js";
import { Newest } from "./newest.js";
import { predict } from "./predictions.js";

export const MOST_SEED = 2 ** 52;
const DRAWN = 1e6; // short, to be read and typed
const $ = (id) => document.getElementById(id);

/** A seed at random, another one than the given. */
export function anotherSeed(seed) {
  const drawn = Math.floor(Math.random() * DRAWN);
  return drawn === seed ? drawn + 1 : drawn;
}

/** The seed that somebody typed into a field; `before` is put back where it is none. */
export function typedSeed(field, before) {
  const seed = field.valueAsNumber;
  if (!Number.isInteger(seed) || seed < 0 || seed > MOST_SEED) {
    field.value = before;
    throw new Failure(`A seed is a whole number from 0 to ${MOST_SEED}.`);
  }
  return seed;
}

/** What the signature `png` gives for inputs: { outputs: bytes by name, modelMs }. */
export async function generate(backend, inputs) {
  const { prediction, modelMs } = await predict(backend, "png", inputs);
  // A single output comes without its name.
  const named = Object.entries(prediction.b64 ? { image_bytes: prediction } : prediction);
  return { outputs: Object.fromEntries(named.map(([name, value]) => [name, fromB64(value)])), modelMs };
}

/** Draws the bytes of a PNG file on a canvas of its size, and gives them as a Blob. */
export async function drawPng(canvas, bytes) {
  const file = new Blob([bytes], { type: "image/png" });
  const bitmap = await createImageBitmap(file);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return file;
}

/** The state of a page, and the images of it. */
export class Generating {
  #newest;

  /**
   * toFragment(state), fromFragment(text): the state as the fragment of the address, and back, null
   * if there is none; ask(state): async function that gives { modelMs, … }; show(found): async
   * function that shows it; showState(state): puts it into the fields.
   */
  constructor({ toFragment, fromFragment, ask, show, showState }) {
    Object.assign(this, { toFragment, fromFragment, show, showState });
    this.#newest = new Newest({
      ask: () => ask(this.state),
      done: (found, milliseconds) => this.#done(found, milliseconds),
      failed: complain,
      working: showWorking,
      waiting: showWaiting,
    });
  }

  /** Begins with the state of the address, or with another. */
  begin(state) {
    addEventListener("popstate", () => this.#takeAddress());
    this.go(this.fromFragment(location.hash) ?? state);
  }

  /** Shows a state; it becomes the page's address, and if `kept`, Back leads to the one before. */
  go(next, { kept = false, said } = {}) {
    this.state = next;
    const fragment = this.toFragment(next);
    if (location.hash !== fragment) history[kept ? "pushState" : "replaceState"](null, "", fragment);
    this.showState(next);
    if (said) speak(said);
    this.#newest.want();
  }

  /** Shows a state that is about to change, as of a slider: the address follows when it rests. */
  slide(next) {
    this.state = next;
    this.#newest.want();
  }

  #takeAddress() {
    const next = this.fromFragment(location.hash);
    if (next && this.toFragment(next) !== this.toFragment(this.state)) this.go(next);
  }

  async #done(found, milliseconds) {
    await this.show(found);
    const inModel = found.modelMs === null ? "" : `, model ${found.modelMs.toFixed(0)} ms`;
    $("latency").textContent = `${milliseconds.toFixed(0)} ms${inModel}`;
    $("latency").hidden = false;
  }
}

export function showWorking(working) {
  document.body.dataset.state = working ? "working" : "idle";
  $("frame").setAttribute("aria-busy", working);
  $("busy-text").textContent = "Generating …";
}

function showWaiting(seconds) {
  $("busy-text").textContent = `The server is busy: next try in ${Math.ceil(seconds)} s`;
  speak($("busy-text").textContent);
}
