// What tools do to a label map: plain functions on arrays of integers in rows.

/** Visits the pixels of a disc; `diameter` 1 is a single pixel. */
function disc(width, height, cx, cy, diameter, visit) {
  const radius = diameter / 2;
  // An even disc has its centre on a corner between pixels.
  const shift = diameter % 2 ? 0 : 0.5;
  for (let y = Math.ceil(cy - radius); y <= cy + radius; y++) {
    for (let x = Math.ceil(cx - radius); x <= cx + radius; x++) {
      const [dx, dy] = [x - cx + shift, y - cy + shift];
      const inside = x >= 0 && y >= 0 && x < width && y < height;
      if (inside && dx * dx + dy * dy <= radius * radius) visit(y * width + x);
    }
  }
}

/** Draws a line of discs from one pixel to another, both included. */
export function drawLine(map, width, height, from, to, diameter, value) {
  const steps = Math.max(1, Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(from.x + ((to.x - from.x) * step) / steps);
    const y = Math.round(from.y + ((to.y - from.y) * step) / steps);
    disc(width, height, x, y, diameter, (i) => (map[i] = value));
  }
}

/** Fills the connected area of one class around a pixel. */
export function fillArea(map, width, height, start, value) {
  const old = map[start.y * width + start.x];
  if (old === value) return;
  const todo = [start.y * width + start.x];
  while (todo.length) {
    const at = todo.pop();
    if (map[at] !== old) continue;
    map[at] = value;
    const x = at % width;
    if (x > 0) todo.push(at - 1);
    if (x < width - 1) todo.push(at + 1);
    if (at >= width) todo.push(at - width);
    if (at < width * (height - 1)) todo.push(at + width);
  }
}

/** Pixels, one byte each, whose centres lie inside a polygon of points { x, y } (even-odd rule). */
export function insidePolygon(points, width, height) {
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const crossings = [];
    for (let k = 0; k < points.length; k++) {
      const [p, q] = [points[k], points[(k + 1) % points.length]];
      const centre = y + 0.5;
      if (p.y > centre === q.y > centre) continue;
      crossings.push(p.x + ((centre - p.y) / (q.y - p.y)) * (q.x - p.x));
    }
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const first = Math.max(0, Math.ceil(crossings[k] - 0.5));
      const last = Math.min(width - 1, Math.ceil(crossings[k + 1] - 0.5) - 1);
      if (last >= first) mask.fill(1, y * width + first, y * width + last + 1);
    }
  }
  return mask;
}
