// Backend: a server that answers in TensorFlow Serving's REST form, the demo's own or another.

import { fromB64, toB64 } from "./base64.js";
import { answer, Failure, getJson } from "./fetching.js";
import { decodePng, encodePng } from "./png.js";

const CLIENT = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16)).join("");
const TIMEOUT_MS = 120_000;
// For the demo's own server: of the requests of one client it answers the newest alone.
const OWN = { "Content-Type": "application/json" };
// For another: no header that needs a preflight request. TensorFlow Serving reads JSON of any type.
const OTHER = { "Content-Type": "text/plain" };

async function instanceOf(inputs) {
  const entries = Object.entries(inputs).map(async ([name, value]) => [
    name,
    value instanceof Blob ? await toB64(value) : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * A backend has `can`, what the page may offer (reroll: other noise; blend: noise between two; edit:
 * noise that differs between pixels; photographs: `segment`; larger: `generate` at a scale),
 * `generate` and perhaps `segment`.
 */
class RestBackend {
  #model;
  #silent;

  constructor(model, signatures, silent) {
    this.#model = model;
    this.#silent = silent;
    const reroll = model.noise_channels > 0;
    const edit = reroll && signatures.includes("png_edit");
    const photographs = signatures.includes("png_segment");
    this.can = { reroll, blend: edit, edit, photographs, larger: true };
  }

  /**
   * The image of a label map with noise as `noiseOf` gives it: { picture: Blob, modelMs:
   * milliseconds in the model, or null }. scale: how many times the model's size the map has;
   * purpose: requests of other purposes are not superseded by this one.
   */
  async generate(map, { index, first, second, share }, { scale = 1, purpose = "" } = {}) {
    const [width, height] = [this.#model.width * scale, this.#model.height * scale];
    const labels = encodePng(map, width, height);
    if (!this.can.edit) {
      return this.#generate("png", { label_map_bytes: await labels, seed: first[0] }, purpose);
    }
    return this.#generate("png_edit", {
      label_map_bytes: await labels,
      noise_index_bytes: await encodePng(index, width, height),
      seed: first,
      other_seed: second,
      share,
    }, purpose);
  }

  async #generate(signature, inputs, purpose) {
    const { prediction, modelMs } = await this.#predict(signature, inputs, purpose);
    return { picture: new Blob([fromB64(prediction)], { type: "image/png" }), modelMs };
  }

  /** Label map, { width, height, values }, of a photograph that has the model's size, a Blob. */
  async segment(photograph) {
    const { prediction } = await this.#predict("png_segment", { image_bytes: photograph }, "segment");
    return decodePng(fromB64(prediction));
  }

  async #predict(signature, inputs, purpose) {
    const { url, own } = this.#model.backend;
    const response = await answer(
      `${url}:predict`,
      {
        method: "POST",
        headers: own ? { ...OWN, "X-Client": `${CLIENT}${purpose}` } : OTHER,
        body: JSON.stringify({ signature_name: signature, instances: [await instanceOf(inputs)] }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      },
      this.#silent,
    );
    const timing = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
    const { predictions } = await response.json();
    return { prediction: predictions[0], modelMs: timing ? Number(timing[1]) : null };
  }
}

/** The backend of a model whose `backend.kind` is "rest". */
export async function createBackend(model) {
  const { url, own } = model.backend;
  const silent = own
    ? undefined
    : `TensorFlow Serving does not answer this page at ${url}. It must be running, with ` +
      "--rest_api_enable_cors_support.";
  const { metadata } = await getJson(`${url}/metadata`, silent);
  const signatures = Object.keys(metadata.signature_def.signature_def);
  if (!signatures.includes("png")) {
    throw new Failure(`The model at ${url} has no signature "png". Received: ${signatures}.`);
  }
  return new RestBackend(model, signatures, silent);
}
