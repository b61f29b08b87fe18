// The tools: from pointer or keyboard to a changed label map or a region.

import { drawLine, fillArea, insidePolygon } from "./drawing.js";

const $ = (id) => document.getElementById(id);
const SIZE_STEPS = [1, 2, 4, 8, 14];
const SIZES_OF = 64; // of the shorter side these are the sizes in pixels
const NEAR = 0.6; // pixels a lasso moves before the next point is kept
const LARGE_STEP = 8;

export class Pen {
  /**
   * panes: the label map's and the image's; size: { width, height }; map(): the present label map;
   * changed(draft), finished(map), cancelled(): of a stroke; regionChanged(region or null).
   */
  constructor(parts) {
    Object.assign(this, parts);
    this.draft = null; // the label map while it is drawn on
    this.region = null; // { points, mask }
    this.path = null; // points of a lasso that is not closed
    this.cursor = null; // pixel under the pointer or moved by keys
    this.keyboard = false; // whether keys move the cursor
    this.last = null; // pixel of the stroke's last disc
    this.#addSizes();
    for (const pane of Object.values(this.panes)) this.#connect(pane);
    for (const radio of document.getElementsByName("tool")) {
      radio.addEventListener("change", () => this.select(radio.value));
    }
    this.select("brush");
  }

  #addSizes() {
    const unit = Math.max(1, Math.min(this.size.width, this.size.height) / SIZES_OF);
    const sizes = SIZE_STEPS.map((one) => Math.round(one * unit));
    sizes.forEach((size, k) => $("sizes").append(this.#sizeItem(size, k)));
    this.setDiameter(sizes[2]);
    this.diameters = sizes;
  }

  #sizeItem(size, k) {
    const item = document.createElement("label");
    const radio = document.createElement("input");
    const dot = document.createElement("span");
    Object.assign(radio, { type: "radio", name: "size", value: size });
    radio.setAttribute("aria-label", `${size} pixels`);
    dot.className = "dot";
    dot.style.setProperty("--dot", `${4 + 4 * k}px`);
    item.title = `${size} pixels`;
    item.append(radio, dot);
    radio.addEventListener("change", () => this.setDiameter(size));
    return item;
  }

  setDiameter(size) {
    this.diameter = size;
    for (const radio of document.getElementsByName("size")) radio.checked = +radio.value === size;
    this.showMarks();
  }

  /** One size smaller (-1) or larger (1). */
  resize(by) {
    const next = this.diameters[this.diameters.indexOf(this.diameter) + by];
    if (next) this.setDiameter(next);
  }

  select(tool) {
    this.cancel();
    this.tool = tool;
    for (const radio of document.getElementsByName("tool")) radio.checked = radio.value === tool;
    this.showMarks();
  }

  // === What a tool does ===

  get #draws() {
    return this.tool === "brush" || this.tool === "eraser";
  }

  get #value() {
    return (this.tool === "eraser" ? this.palette.eraser : this.palette.selected).id;
  }

  get active() {
    return this.draft !== null || this.path !== null;
  }

  #down(point) {
    const pixel = this.#clamped(point);
    if (this.tool === "lasso") this.path = [point];
    else if (this.tool === "pick") this.#pick(pixel);
    else if (this.tool === "fill") this.#fill(pixel);
    else this.#begin(pixel);
    this.showMarks();
  }

  #begin(pixel) {
    this.draft = this.map().slice();
    this.last = pixel;
    this.#draw(pixel);
  }

  #draw(pixel) {
    const { width, height } = this.size;
    drawLine(this.draft, width, height, this.last, pixel, this.diameter, this.#value);
    this.last = pixel;
    this.changed(this.draft);
  }

  #fill(pixel) {
    const { width, height } = this.size;
    const map = this.map().slice();
    fillArea(map, width, height, pixel, this.palette.selected.id);
    this.finished(map);
  }

  #pick({ x, y }) {
    this.palette.select(this.map()[y * this.size.width + x]);
    this.speak(`${this.palette.selected.name} taken`);
  }

  #move(point) {
    if (this.draft) this.#draw(this.#clamped(point, false));
    if (!this.path) return;
    const last = this.path.at(-1);
    if (Math.hypot(point.x - last.x, point.y - last.y) > NEAR) this.path.push(point);
  }

  #up() {
    const { draft, path } = this;
    this.draft = this.path = this.last = null;
    if (draft) this.finished(draft);
    if (path) this.#close(path);
    this.showMarks();
  }

  #close(points) {
    const mask = insidePolygon(points, this.size.width, this.size.height);
    const count = mask.reduce((sum, inside) => sum + inside, 0);
    this.region = count ? { points, mask } : null;
    this.regionChanged(this.region);
    this.speak(count ? `Region of ${count} pixels` : "No region");
  }

  /** Cancels the stroke or lasso that is under way. */
  cancel() {
    if (!this.active) return false;
    const drawn = this.draft !== null;
    this.draft = this.path = this.last = null;
    if (drawn) this.cancelled();
    this.showMarks();
    return true;
  }

  /** Drops the region. */
  drop() {
    this.cancel();
    if (!this.region) return;
    this.region = null;
    this.regionChanged(null);
    this.showMarks();
  }

  #clamped({ x, y }, inside = true) {
    const [px, py] = [Math.floor(x), Math.floor(y)];
    if (!inside) return { x: px, y: py };
    return {
      x: Math.min(this.size.width - 1, Math.max(0, px)),
      y: Math.min(this.size.height - 1, Math.max(0, py)),
    };
  }

  // === Pointer ===

  #connect(pane) {
    const frame = pane.root.querySelector(".frame");
    frame.addEventListener("pointerdown", (event) => this.#pointerDown(pane, frame, event));
    frame.addEventListener("pointermove", (event) => this.#pointerMove(pane, event));
    frame.addEventListener("pointerup", (event) => event.isPrimary && this.active && this.#up());
    frame.addEventListener("pointercancel", () => this.cancel());
    frame.addEventListener("pointerleave", () => this.#leave());
    frame.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #pointerDown(pane, frame, event) {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    this.cancel(); // of a stroke that keys began
    $("map-frame").focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    this.#point(pane.locate(event), false);
    this.#down(this.cursor);
  }

  #pointerMove(pane, event) {
    if (!event.isPrimary) return;
    if (this.keyboard && this.active) return;
    for (const part of event.getCoalescedEvents?.() ?? []) {
      if (this.active) this.#move(pane.locate(part));
    }
    this.#point(pane.locate(event), false);
    if (this.active) this.#move(this.cursor);
    this.showMarks();
  }

  #leave() {
    if (this.active || this.keyboard) return;
    this.cursor = null;
    this.showMarks();
  }

  // === Keys ===

  /** Keys on the label map; true if one was used. */
  key(event) {
    const step = event.shiftKey ? LARGE_STEP : 1;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (moves[event.key]) this.#moveBy(...moves[event.key].map((by) => by * step));
    else if (event.key === " ") this.#once();
    else if (event.key === "Enter") this.#toggle();
    else return false;
    return true;
  }

  #start() {
    const { width, height } = this.size;
    this.#point(this.cursor ?? { x: width / 2, y: height / 2 }, true);
  }

  #moveBy(dx, dy) {
    this.#start();
    const pixel = this.#clamped({ x: this.cursor.x + dx, y: this.cursor.y + dy });
    this.#point({ x: pixel.x + 0.5, y: pixel.y + 0.5 }, true);
    if (this.active) this.#move(this.cursor);
    this.showMarks();
    this.speak(`${this.classUnder()}, ${pixel.x}, ${pixel.y}`);
  }

  #once() {
    if (this.active) return this.#toggle();
    this.#start();
    this.#down(this.cursor);
    if (this.#draws) this.#up();
  }

  #toggle() {
    if (this.active) {
      this.#up();
      return;
    }
    this.#start();
    this.#down(this.cursor);
    if (this.active) this.speak("Pen down");
  }

  // === Marks ===

  #point(point, keyboard) {
    this.cursor = point;
    this.keyboard = keyboard;
  }

  classUnder() {
    const { x, y } = this.#clamped(this.cursor);
    return this.palette.classes[(this.draft ?? this.map())[y * this.size.width + x]].name;
  }

  showMarks() {
    const { cursor, keyboard, region, path } = this;
    const diameter = this.#draws ? this.diameter : 1;
    const mark = cursor && { ...cursor, diameter, cross: keyboard || !this.#draws };
    for (const pane of Object.values(this.panes)) {
      pane.showMarks({ region: region?.points, path, cursor: mark });
    }
    const inside = cursor && cursor.x >= 0 && cursor.y >= 0 &&
      cursor.x < this.size.width && cursor.y < this.size.height;
    $("under-cursor").textContent = inside ? this.classUnder() : "";
  }
}
