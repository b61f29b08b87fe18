// Four pictures of one label map, of seeds that follow each other, to choose from.

import { patiently } from "./fetching.js";
import { variant } from "./noise.js";

export class Sheet {
  #round = 0; // of requests; answers of earlier ones are dropped
  #noise;

  /**
   * root: dialog with four buttons `.variant` of a canvas and a caption, and the buttons
   * `#save-sheet` and `#more-variants`. generate: async function of noise that gives a picture;
   * chosen(noise); save(Blob, name); failed(error); waiting(seconds).
   */
  constructor(root, { size, generate, chosen, save, failed, waiting }) {
    Object.assign(this, { root, generate, chosen, save, failed, waiting });
    this.buttons = [...root.querySelectorAll(".variant")];
    this.canvases = this.buttons.map((button) => button.querySelector("canvas"));
    for (const canvas of this.canvases) {
      Object.assign(canvas, { width: size.width, height: size.height });
    }
    this.buttons.forEach((button, k) => {
      button.addEventListener("click", () => {
        root.close();
        this.chosen(variant(this.#noise, k));
      });
    });
    this.saveButton = root.querySelector("#save-sheet");
    this.saveButton.addEventListener("click", () => this.#save());
    root.querySelector("#more-variants").addEventListener("click", () => {
      this.open(variant(this.#noise, this.buttons.length));
    });
    root.addEventListener("close", () => this.#round++);
  }

  /** Shows the noise of a picture and three more. */
  async open(noise) {
    const round = ++this.#round;
    this.#noise = noise;
    this.saveButton.disabled = true;
    this.buttons.forEach((button, k) => {
      button.querySelector("span").textContent = `Seed ${noise.base[0] + k}`;
      button.disabled = true;
    });
    if (!this.root.open) this.root.showModal();
    this.root.setAttribute("aria-busy", "true");
    try {
      for (const [k, canvas] of this.canvases.entries()) {
        const picture = await patiently(() => this.generate(variant(noise, k)), this.waiting);
        const bitmap = await createImageBitmap(picture);
        if (round !== this.#round) return;
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        this.buttons[k].disabled = false;
      }
      this.saveButton.disabled = false;
    } catch (error) {
      if (round !== this.#round) return;
      this.root.close();
      this.failed(error);
    } finally {
      if (round === this.#round) this.root.setAttribute("aria-busy", "false");
    }
  }

  async #save() {
    const [{ width, height }] = this.canvases;
    const all = Object.assign(document.createElement("canvas"), {
      width: 2 * width,
      height: 2 * height,
    });
    const context = all.getContext("2d");
    this.canvases.forEach((canvas, k) => {
      context.drawImage(canvas, (k % 2) * width, Math.floor(k / 2) * height);
    });
    const blob = await new Promise((resolve) => all.toBlob(resolve));
    this.save(blob, `oasis_seeds_${this.#noise.base[0]}.png`);
  }
}
