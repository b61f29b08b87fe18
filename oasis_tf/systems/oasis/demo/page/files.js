// Files that visitors choose, read by the page itself.

import { Failure } from "./fetching.js";
import { decodePng } from "./png.js";

const MOST_PIXELS = 2 ** 24;
const MOST_LISTED = 10;
const MOST_LABEL_COLOURS = 512;

const hex = (colour) => `#${colour.toString(16).padStart(6, "0")}`;
const packed = ([red, green, blue]) => (red << 16) | (green << 8) | blue;

/** Map from what a file holds, raw ids or packed colours, to model ids. */
function tableOf(classes, colours) {
  const table = new Map();
  const add = (value, id) => table.has(value) || table.set(value, id); // the first of a colour
  for (const { id, color, raw_id: raw } of classes) add(colours ? packed(color) : raw, id);
  for (const { id, further_colors: more = [], further_raw_ids: raw = [] } of classes) {
    for (const value of colours ? more.map(packed) : raw) add(value, id);
  }
  return table;
}

/** Model ids of raw ids or packed colours, and the values that are of no class. */
function looked(values, colours, classes) {
  const table = tableOf(classes, colours);
  const strange = new Set();
  const ids = Uint16Array.from(values, (value) => {
    const id = table.get(value);
    if (id === undefined) strange.add(value);
    return id ?? 0;
  });
  return { ids, strange, colours };
}

/** What a file may hold, as `looked` gives it: ids, or three equal channels of them; colours. */
function readings({ values, colours, palette }, classes) {
  const found = [];
  if (!colours) found.push(looked(values, false, classes));
  else if (values.every((value) => value === (value & 255) * 0x010101)) {
    found.push(looked(values.map((value) => value & 255), false, classes));
  }
  if (colours) found.push(looked(values, true, classes));
  else if (palette) {
    found.push(looked(Uint32Array.from(values, (index) => palette[index] ?? 0), true, classes));
  }
  return found;
}

/** Model ids of a file: what all its pixels have, ids or colours of classes; a doubt is refused. */
function toModelIds(decoded, { classes, dataset }) {
  const found = readings(decoded, classes);
  const [sound, other] = found.filter(({ strange }) => !strange.size);
  const shown = classes.map(({ color }) => packed(color)); // classes may share a colour
  if (other && sound.ids.some((id, i) => shown[id] !== shown[other.ids[i]])) {
    throw new Failure(
      "The label map can be read as class ids and as colours, which stand for different classes. " +
        "Save its class ids in grey.",
    );
  }
  if (!sound) {
    const { strange, colours } = found[0];
    const listed = [...strange].slice(0, MOST_LISTED).map(colours ? hex : String).join(", ");
    const what = colours ? "colours" : "label values";
    const plain =
      strange.size > MOST_LABEL_COLOURS
        ? "This looks like a photograph, not like a label map. Open it as a photograph."
        : `This label map does not fit the model, which has the ${classes.length} classes of ${dataset}.`;
    throw new Failure(`${plain} The label map: ${what} ${listed} are no classes.`);
  }
  return sound.ids;
}

/** Nearest neighbour of pixel centres, as in training. */
function resized(ids, from, { width, height }) {
  const place = (k, now, before) => Math.floor(((2 * k + 1) * before) / (2 * now));
  const out = new Uint16Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    const row = place(y, height, from.height) * from.width;
    for (let x = 0; x < width; x++) out[i++] = ids[row + place(x, width, from.width)];
  }
  return out;
}

/** Refuses what cannot be a label map by its first bytes, in plain words. */
export async function refusePhotograph(file, can) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  const isJpeg = head.startsWith("\xff\xd8\xff");
  if (!isJpeg && !/^RIFF....WEBP/s.test(head)) return;
  const remedy = can.photographs
    ? "Open it with “Photograph …”."
    : "This model takes no photographs.";
  throw new Failure(
    `${file.name} is a ${isJpeg ? "JPEG" : "WebP"} file, a photograph: label maps are PNG files. ${remedy}`,
  );
}

/** The label map, { width, height, values }, of a file, and its `original` width and height. */
export async function readLabels(file, model) {
  let decoded;
  try {
    decoded = await decodePng(new Uint8Array(await file.arrayBuffer()), MOST_PIXELS);
  } catch (error) {
    throw new Failure(`The label map cannot be read as PNG. ${error.message}`);
  }
  const { width, height } = decoded;
  const values = resized(toModelIds(decoded, model), decoded, model);
  return { width: model.width, height: model.height, values, original: { width, height } };
}

/** A photograph at the model's size, a Blob: its middle of the right proportions, resampled. */
export async function readPhotograph(file, { width, height }) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Failure("The photograph cannot be read. The file is damaged or no picture.");
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [width / scale, height / scale];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const [x, y] = [(bitmap.width - w) / 2, (bitmap.height - h) / 2];
  context.drawImage(bitmap, x, y, w, h, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  if (data.some((value, i) => i % 4 === 3 && value < 255)) {
    throw new Failure("The photograph is transparent in places; it must be opaque.");
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}
