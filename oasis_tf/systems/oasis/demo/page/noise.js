// The noise of a picture as the page keeps it. A *pair* is two seeds, [a, b]: the slider moves from
// the noise of a to that of b = a + 1, so that a says it all. The whole picture has a pair, so may
// classes, and so may regions.
// Nothing is changed in place, so that undo can keep what was.

const SEEDS = 2 ** 31; // those that are drawn: short enough to note
export const MOST_SEED = 2 ** 52; // with room for those beside it

const pairOf = (seed) => [seed, seed + 1];

function drawPair() {
  return pairOf(crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS);
}

/**
 * base: pair; classes: Map from class to pair; regions: per pixel 0 or 1 + number of a pair in
 * regionPairs, or null; share: slider, 0 to 1.
 */
export function firstNoise() {
  return { base: pairOf(0), classes: new Map(), regions: null, regionPairs: [], share: 0 };
}

export function rerollAll(noise) {
  return { ...firstNoise(), base: drawPair(), share: noise.share };
}

/** The noise of a seed everywhere. */
export function ofSeed(seed, share = 0) {
  return { ...firstNoise(), base: pairOf(seed), share };
}

/** Whether the seed of the picture says all: no class or region has noise of its own. */
export function isPlain(noise) {
  return !noise.classes.size && !noise.regionPairs.length;
}

/** The same edits on the noise of another seed, so many further. */
export function variant(noise, number) {
  return { ...noise, base: pairOf(noise.base[0] + number) };
}

export function withShare(noise, share) {
  return { ...noise, share };
}

/** New noise for a class, wherever it is and will be; regions give up its present pixels. */
export function rerollClass(noise, labelMap, id) {
  const classes = new Map(noise.classes).set(id, drawPair());
  const regions = noise.regions?.map((number, i) => (labelMap[i] === id ? 0 : number)) ?? null;
  return { ...noise, classes, regions };
}

/** New noise where `mask` is not 0. */
export function rerollRegion(noise, mask) {
  const regions = noise.regions?.slice() ?? new Uint16Array(mask.length);
  const kept = [];
  const numbers = new Map(); // pairs without pixels are forgotten
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] || !regions[i]) continue;
    if (!numbers.has(regions[i])) {
      kept.push(noise.regionPairs[regions[i] - 1]);
      numbers.set(regions[i], kept.length);
    }
    regions[i] = numbers.get(regions[i]);
  }
  kept.push(drawPair());
  for (let i = 0; i < mask.length; i++) if (mask[i]) regions[i] = kept.length;
  return { ...noise, regions, regionPairs: kept };
}

/** Seed and slider as a fragment of the address, and back: null if there is none. */
export function toFragment({ base: [seed], share }) {
  return `#seed=${seed}${share ? `&share=${Math.round(share * 100)}` : ""}`;
}

export function fromFragment(text) {
  const match = /^#seed=(\d+)(?:&share=(\d+))?$/.exec(text);
  if (!match || Number(match[1]) > MOST_SEED) return null;
  return ofSeed(Number(match[1]), Math.min(Number(match[2] ?? 0), 100) / 100);
}

/** What a backend needs: a number per pixel, and for every number its two seeds. */
export function noiseOf(noise, labelMap) {
  const pairs = [];
  const numbers = new Map();
  const numberOf = (pair) => {
    if (!numbers.has(pair)) {
      numbers.set(pair, pairs.length);
      pairs.push(pair);
    }
    return numbers.get(pair);
  };
  const index = new Uint16Array(labelMap.length);
  for (let i = 0; i < index.length; i++) {
    const region = noise.regions?.[i];
    const pair = region ? noise.regionPairs[region - 1] : noise.classes.get(labelMap[i]);
    index[i] = numberOf(pair ?? noise.base);
  }
  return { index, first: pairs.map((pair) => pair[0]), second: pairs.map((pair) => pair[1]) };
}
