// A picture with something drawn over it: the label map, and the image beside it.

const DASH = [5, 4];

export class Pane {
  /** root: element with a canvas `.picture` and, over it, a canvas `.overlay`. */
  constructor(root) {
    this.root = root;
    this.picture = root.querySelector(".picture");
    this.overlay = root.querySelector(".overlay");
    this.context = this.picture.getContext("2d");
  }

  setSize(width, height) {
    Object.assign(this.picture, { width, height });
  }

  /** The pixel, { x, y } with fractions, under a pointer event. */
  locate(event) {
    const box = this.picture.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.picture.width,
      y: ((event.clientY - box.top) / box.height) * this.picture.height,
    };
  }

  /** Shows a label map in the colours of a table of 32-bit pixels. */
  showLabels(map, colours) {
    const image = this.context.createImageData(this.picture.width, this.picture.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < map.length; i++) pixels[i] = colours[map[i]];
    this.context.putImageData(image, 0, 0);
  }

  /** Shows a Blob of a picture, or an ImageData. */
  async showImage(picture) {
    const bitmap = await createImageBitmap(picture);
    this.context.drawImage(bitmap, 0, 0, this.picture.width, this.picture.height);
    bitmap.close();
  }

  /**
   * Draws what lies over the picture. marks: { region: points of a closed line or null, path: points
   * of an open one or null, cursor: { x, y, diameter, cross } or null }, in pixels of the picture.
   */
  showMarks({ region, path, cursor }) {
    const ratio = window.devicePixelRatio || 1;
    const box = this.overlay.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.overlay.width !== width) this.overlay.width = width;
    if (this.overlay.height !== height) this.overlay.height = height;
    const context = this.overlay.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = width / this.picture.width;
    if (region) this.#outline(context, trace(region, scale, true), ratio);
    if (path) this.#outline(context, trace(path, scale, false), ratio);
    if (cursor) this.#outline(context, cursorPath(cursor, scale, ratio), ratio, true);
  }

  /** Dark below light, so that it shows on any colour. */
  #outline(context, path, ratio, solid = false) {
    context.lineJoin = "round";
    context.setLineDash([]);
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "rgb(0 0 0 / 65%)";
    context.stroke(path);
    context.setLineDash(solid ? [] : DASH.map((length) => length * ratio));
    context.lineWidth = 1.5 * ratio;
    context.strokeStyle = "white";
    context.stroke(path);
  }
}

function trace(points, scale, closed) {
  const path = new Path2D();
  for (const { x, y } of points) path.lineTo(x * scale, y * scale);
  if (closed) path.closePath();
  return path;
}

function cursorPath({ x, y, diameter, cross }, scale, ratio) {
  const path = new Path2D();
  const shift = diameter % 2 ? 0.5 : 0;
  const [cx, cy] = [(Math.floor(x) + shift) * scale, (Math.floor(y) + shift) * scale];
  const radius = Math.max((diameter / 2) * scale, 2 * ratio);
  path.arc(cx, cy, radius, 0, 2 * Math.PI);
  if (cross) {
    const [from, to] = [radius + 2 * ratio, radius + 8 * ratio];
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(cx + dx * from, cy + dy * from);
      path.lineTo(cx + dx * to, cy + dy * to);
    }
  }
  return path;
}
