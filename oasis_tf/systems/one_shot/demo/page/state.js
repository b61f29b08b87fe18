// Which image is shown: { seed, to, share }, the latent between those of two seeds.

import { anotherSeed, MOST_SEED } from "./generating.js";

/** Another seed at random, and none of the way from it. */
export function another({ seed, to }) {
  return { seed: anotherSeed(seed), to, share: 0 };
}

/** The state as a fragment of the address, and back: null if there is none. */
export function toFragment({ seed, to, share }) {
  return `#seed=${seed}&to=${to}${share ? `&share=${Math.round(share * 100)}` : ""}`;
}

export function fromFragment(text) {
  const match = /^#seed=(\d+)(?:&to=(\d+))?(?:&share=(\d+))?$/.exec(text);
  if (!match) return null;
  const seed = Number(match[1]);
  const to = Number(match[2] ?? seed + 1);
  if (Math.max(seed, to) > MOST_SEED) return null;
  return { seed, to, share: Math.min(Number(match[3] ?? 0), 100) / 100 };
}
