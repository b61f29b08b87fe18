// Backend: a server that answers in TensorFlow Serving's REST form, the demo's own or another.

import { fromB64 } from "./base64.js";
import { Failure } from "./fetching.js";
import { decodePng, encodePng } from "./png.js";
import { predict, signaturesOf } from "./predictions.js";

/**
 * A backend has `can`, what the page may offer (reroll: other noise; blend: noise between two; edit:
 * noise that differs between pixels; photographs: `segment`; larger: `generate` at a scale),
 * `generate` and perhaps `segment`.
 */
class RestBackend {
  #model;

  constructor(model, signatures) {
    this.#model = model;
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

  #predict(signature, inputs, purpose) {
    return predict(this.#model.backend, signature, inputs, purpose);
  }
}

/** The backend of a model whose `backend.kind` is "rest". */
export async function createBackend(model) {
  const signatures = await signaturesOf(model.backend);
  if (!signatures.includes("png")) {
    const { url } = model.backend;
    throw new Failure(`The model at ${url} has no signature "png". Received: ${signatures}.`);
  }
  return new RestBackend(model, signatures);
}
