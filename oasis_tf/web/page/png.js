// PNG files of integers. The canvas cannot be used for them: it knows colours, not palette indices
// or 16 bits, and may change values by colour management.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GREY = 0;
const PALETTE = 3;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

async function through(stream, bytes) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
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

/**
 * A PNG of integers: grey of 8 bits, or of 16 where values need them; with `palette`, an array of
 * [red, green, blue] by value, a palette PNG whose indices are the values.
 */
export async function encodePng(values, width, height, palette = null) {
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
  const chunks = [chunk("IHDR", header(width, height, 8 * size, palette ? PALETTE : GREY))];
  if (palette) chunks.push(chunk("PLTE", Uint8Array.from(palette.flat())));
  chunks.push(chunk("IDAT", await through(new CompressionStream("deflate"), rows)));
  chunks.push(chunk("IEND", new Uint8Array()));
  return new Blob([Uint8Array.from(SIGNATURE), ...chunks], { type: "image/png" });
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

/** Reads a grey PNG of 8 or 16 bits, as the server writes them: { width, height, values }. */
export async function decodePng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, kind, interlaced] = [bytes[24], bytes[25], bytes[28]];
  if (kind !== GREY || interlaced || (bits !== 8 && bits !== 16)) {
    throw new Error("The PNG is not grey of 8 or 16 bits.");
  }
  const size = bits / 8;
  const packed = new Uint8Array(await new Blob(parts).arrayBuffer());
  const raw = await through(new DecompressionStream("deflate"), packed);
  const plain = unfilter(raw, height, width * size, size);
  const values = new Uint16Array(width * height);
  for (let i = 0; i < values.length; i++) {
    values[i] = size === 1 ? plain[i] : (plain[2 * i] << 8) | plain[2 * i + 1];
  }
  return { width, height, values };
}
