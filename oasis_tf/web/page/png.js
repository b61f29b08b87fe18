// PNG files of integers. The canvas cannot be used for them: it knows colours, not palette indices
// or 16 bits, and may change values by colour management.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const [GREY, COLOURS, PALETTE, GREY_ALPHA, COLOURS_ALPHA] = [0, 2, 3, 4, 6];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

async function through(stream, blob) {
  const piped = blob.stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function header(width, height, bits, kind) {
  const data = new Uint8Array(13);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  data[8] = bits;
  data[9] = kind;
  return data;
}

async function pngOf(head, palette, rows) {
  const chunks = [chunk("IHDR", head)];
  if (palette) chunks.push(chunk("PLTE", Uint8Array.from(palette.flat())));
  chunks.push(chunk("IDAT", await through(new CompressionStream("deflate"), new Blob([rows]))));
  chunks.push(chunk("IEND", new Uint8Array()));
  return new Blob([Uint8Array.from(SIGNATURE), ...chunks], { type: "image/png" });
}

/**
 * A PNG of integers: grey of 8 bits, or of 16 where values need them; with `palette`, an array of
 * [red, green, blue] by value, a palette PNG whose indices are the values.
 */
export function encodePng(values, width, height, palette = null) {
  const wide = !palette && values.some((value) => value > 255);
  const size = wide ? 2 : 1;
  const rows = new Uint8Array(height * (1 + width * size));
  const view = new DataView(rows.buffer);
  for (let y = 0, at = 0, i = 0; y < height; y++) {
    at++; // no filter
    for (let x = 0; x < width; x++, i++, at += size) {
      if (wide) view.setUint16(at, values[i]);
      else rows[at] = values[i];
    }
  }
  return pngOf(header(width, height, 8 * size, palette ? PALETTE : GREY), palette, rows);
}

/** A PNG of the colours of an ImageData. */
export function encodeImage({ data, width, height }) {
  const rows = new Uint8Array(height * (1 + 3 * width));
  for (let y = 0, at = 0, i = 0; y < height; y++) {
    at++; // no filter
    for (let x = 0; x < width; x++, i += 4, at += 3) rows.set(data.subarray(i, i + 3), at);
  }
  return pngOf(header(width, height, 8, COLOURS), null, rows);
}

function paeth(a, b, c) {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

const PREDICTORS = [
  () => 0,
  (a) => a,
  (a, b) => b,
  (a, b) => (a + b) >> 1,
  paeth,
];

function unfilter(raw, height, stride, size) {
  const out = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const predict = PREDICTORS[raw[y * (stride + 1)]];
    if (!predict) throw new Error("The PNG is damaged.");
    for (let x = 0; x < stride; x++) {
      const at = y * stride + x;
      const left = x >= size ? out[at - size] : 0;
      const up = y ? out[at - stride] : 0;
      const corner = y && x >= size ? out[at - stride - size] : 0;
      out[at] = raw[y * (stride + 1) + 1 + x] + predict(left, up, corner);
    }
  }
  return out;
}

const CHANNELS = { [GREY]: 1, [COLOURS]: 3, [PALETTE]: 1, [GREY_ALPHA]: 2, [COLOURS_ALPHA]: 4 };

/** Samples of a row, `bits` each, from the highest bit. */
function* samples(bytes, bits, count) {
  for (let i = 0; i < count; i++) {
    if (bits === 16) yield (bytes[2 * i] << 8) | bytes[2 * i + 1];
    else yield (bytes[(i * bits) >> 3] >> (8 - bits - ((i * bits) & 7))) & ((1 << bits) - 1);
  }
}

function* packedColours(bytes) {
  for (let i = 0; i + 2 < bytes.length; i += 3) {
    yield (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2];
  }
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || SIGNATURE.some((value, i) => bytes[i] !== value)) {
    throw new Error("The file is damaged or of another kind.");
  }
  const parts = [];
  const palette = [];
  for (let at = 8, type; type !== "IEND"; at += 12 + view.getUint32(at)) {
    const end = at + 8 + (at + 12 <= bytes.length ? view.getUint32(at) : Infinity);
    if (end + 4 > bytes.length || crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) {
      throw new Error("The file is damaged.");
    }
    type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "PLTE") palette.push(...packedColours(bytes.subarray(at + 8, end)));
    if (type === "IDAT") parts.push(bytes.subarray(at + 8, end));
  }
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, kind, interlaced] = [bytes[24], bytes[25], bytes[28]];
  return { width, height, bits, kind, interlaced, parts, palette };
}

/**
 * Reads a PNG: { width, height, values, colours, palette }. The values are 0xRRGGBB (`colours` is
 * true), or integers: grey of 1 to 16 bits, or indices of `palette`, an array of 0xRRGGBB. Refuses
 * wrong checksums, more than `most` pixels, transparency, and files that come in several passes.
 */
export async function decodePng(bytes, most = Infinity) {
  const { width, height, bits, kind, interlaced, parts, palette } = readChunks(bytes);
  const channels = CHANNELS[kind];
  if (width * height > most) throw new Error(`It may have ${most.toLocaleString("en")} pixels at most.`);
  if (interlaced) throw new Error("Save it without interlacing.");
  if (!channels || (channels > 1 && bits !== 8)) {
    throw new Error("It must hold integers, or colours of 8 bits a channel.");
  }
  const stride = Math.ceil((width * channels * bits) / 8);
  const raw = await through(new DecompressionStream("deflate"), new Blob(parts)).catch(() => null);
  if (raw?.length !== height * (stride + 1)) throw new Error("The file is damaged.");
  const plain = unfilter(raw, height, stride, Math.max(1, (channels * bits) >> 3));
  const values = channels > 2 ? new Uint32Array(width * height) : new Uint16Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    const row = plain.subarray(y * stride, (y + 1) * stride);
    if (channels === 1) for (const value of samples(row, bits, width)) values[i++] = value;
    else for (let x = 0; x < width; x++) values[i++] = pixelAt(row, x * channels, channels);
  }
  return { width, height, values, colours: channels > 2, palette: kind === PALETTE && palette };
}

function pixelAt(row, at, channels) {
  if (channels % 2 === 0 && row[at + channels - 1] !== 255) throw new Error("It must be opaque.");
  if (channels === 2) return row[at];
  return (row[at] << 16) | (row[at + 1] << 8) | row[at + 2];
}
