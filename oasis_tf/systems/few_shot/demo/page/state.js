// Which image is shown: { seed, amounts, truncation }. Each of the amounts, in -100..100, moves the
// latent of the seed along a direction; the truncation is in 0..100.

import { anotherSeed, MOST_SEED } from "./generating.js";

const WHOLE = 100; // of a truncation that changes nothing

/** The state of a page that nobody has changed. */
export function first(sliders) {
  return { seed: 0, amounts: Array(sliders).fill(0), truncation: WHOLE };
}

/** Another seed at random, with the sliders where they are. */
export function another(state) {
  return { ...state, seed: anotherSeed(state.seed) };
}

/** The state as a fragment of the address, and back: null if there is none. */
export function toFragment({ seed, amounts, truncation }) {
  const moved = amounts.some((amount) => amount) ? `&sliders=${amounts.join(",")}` : "";
  return `#seed=${seed}${truncation === WHOLE ? "" : `&truncation=${truncation}`}${moved}`;
}

export function fromFragment(text, sliders) {
  const match = /^#seed=(\d+)(?:&truncation=(\d+))?(?:&sliders=([-\d,]+))?$/.exec(text);
  if (!match) return null;
  const seed = Number(match[1]);
  const truncation = Number(match[2] ?? WHOLE);
  const amounts = match[3]?.split(",").map(Number) ?? first(sliders).amounts;
  const fits = (amount) => Number.isInteger(amount) && Math.abs(amount) <= 100;
  if (seed > MOST_SEED || truncation > WHOLE || amounts.length !== sliders) return null;
  return amounts.every(fits) ? { seed, amounts, truncation } : null;
}
