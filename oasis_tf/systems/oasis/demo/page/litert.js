// Backend: the model's .tflite in the browser, without a server; nothing leaves the page.

import { Failure } from "./fetching.js";
import { noiseVector } from "./philox.js";

/** The worker, which runs one task after another. */
class Runner {
  #waiting = new Map();
  #count = 0;

  constructor() {
    const here = (name) => new URL(name, document.baseURI).href;
    // Made from text, a worker is bound by this page's Content-Security-Policy, which pages that
    // any server hands out cannot put into the headers of a worker's file.
    const text = `self.BASE = ${JSON.stringify(here("."))};
      importScripts(${JSON.stringify(here("litert_worker.js"))});`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.worker.addEventListener("message", ({ data }) => this.#settle(data));
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      for (const id of this.#waiting.keys()) {
        this.#settle({ id, error: event.message || "The browser refused to start it." });
      }
    });
  }

  #settle({ id, error, ...answer }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Failure(`LiteRT.js failed: ${error}`));
    else resolve(answer);
  }

  ask(task) {
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...task });
    });
  }

  load(network, file) {
    return this.ask({ load: network, file });
  }

  /** Outputs by name, and how long they took. */
  run(network, inputs) {
    return this.ask({ run: network, inputs });
  }
}

/** Values in -1…1 as an image, rounded as `oasis_tf.io.images.to_uint8` does. */
function toImage(values, width, height) {
  const image = new ImageData(width, height);
  for (let i = 0, at = 0; i < values.length; i += 3, at += 4) {
    // Arrays of this kind round to the nearest, of halves to the even one, and clip.
    for (let c = 0; c < 3; c++) image.data[at + c] = Math.fround(values[i + c] + 1) * 127.5;
    image.data[at + 3] = 255;
  }
  return image;
}

async function toValues(picture, width, height) {
  const bitmap = await createImageBitmap(picture);
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(width * height * 3);
  for (let i = 0, at = 0; i < values.length; i += 3, at += 4) {
    for (let c = 0; c < 3; c++) values[i + c] = data[at + c] / 127.5 - 1;
  }
  return values;
}

class LiteRtBackend {
  #model;
  #runner;
  #segmenter = null;

  constructor(model, runner) {
    this.#model = model;
    this.#runner = runner;
    const noise = model.noise_channels > 0;
    const photographs = Boolean(model.backend.segmenter);
    // The file takes one vector, so noise cannot differ between pixels.
    this.can = { reroll: noise, blend: noise, edit: false, photographs, larger: false };
  }

  /** As `RestBackend.generate`, the picture an ImageData. */
  async generate(map, { first: [first], second: [second], share }) {
    const { width, height, noise_channels: channels } = this.#model;
    const inputs = {
      label_map: { values: Int32Array.from(map), shape: [1, height, width] },
    };
    if (channels) inputs.noise = { values: this.#noise(first, second, share), shape: [1, channels] };
    const { outputs, milliseconds } = await this.#runner.run("generator", inputs);
    return { picture: toImage(outputs.image, width, height), modelMs: milliseconds };
  }

  /** Noise between those of two seeds: `share` 0 is the first, 1 the second. */
  #noise(first, second, share) {
    const { noise_channels: channels } = this.#model;
    const [a, b] = [noiseVector(first, channels), noiseVector(second, channels)];
    return a.map((value, i) => (1 - share) * value + share * b[i]);
  }

  /** As `RestBackend.segment`. */
  async segment(photograph) {
    const { width, height, backend } = this.#model;
    this.#segmenter ??= this.#runner.load("segmenter", backend.segmenter);
    await this.#segmenter;
    const values = await toValues(photograph, width, height);
    const { outputs } = await this.#runner.run("segmenter", {
      image: { values, shape: [1, height, width, 3] },
    });
    return { width, height, values: Uint16Array.from(outputs.label_map) };
  }
}

/** The backend of a model whose `backend.kind` is "litert". */
export async function createBackend(model) {
  const runner = new Runner();
  await runner.load("generator", model.backend.generator);
  return new LiteRtBackend(model, runner);
}
