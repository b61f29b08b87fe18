// Noise vectors of seeds, the same numbers as the server draws: TensorFlow's
// `stateless_normal(alg="philox")` with the key (seed, 0), as `sample_noise` of `oasis_tf` uses it.
// Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85];
const SCRAMBLING_KEY = [0x3ec8f720, 0x02461e29];
const SMALLEST = Math.fround(1e-7); // of what a logarithm is taken

/** High and low half of the product of two unsigned integers of 32 bits. */
function multiply(a, b) {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

/** Four integers of 32 bits from a counter of four and a key of two. */
export function philox(counter, key) {
  let [a, b, c, d] = counter;
  let [k, l] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const [highA, lowA] = multiply(MULTIPLIERS[0], a);
    const [highC, lowC] = multiply(MULTIPLIERS[1], c);
    [a, b, c, d] = [(highC ^ b ^ k) >>> 0, lowC, (highA ^ d ^ l) >>> 0, lowA];
    k = (k + KEY_STEPS[0]) >>> 0;
    l = (l + KEY_STEPS[1]) >>> 0;
  }
  return [a, b, c, d];
}

/** In 0…1: the lower 23 bits as those after the point of a number in 1…2. */
const uniform = (bits) => Math.fround((bits & 0x7fffff) / 2 ** 23);

/** Two normal numbers from two uniform ones (Box and Muller), rounded where float32 is. */
function normal(first, second) {
  const angle = Math.fround(2 * Math.PI * uniform(second));
  const logarithm = Math.fround(Math.log(Math.max(uniform(first), SMALLEST)));
  const radius = Math.fround(Math.sqrt(-2 * logarithm));
  return [Math.sin(angle) * radius, Math.cos(angle) * radius];
}

/** The noise vector of a seed (a whole number that is safe), Float32Array of `channels`. */
export function noiseVector(seed, channels) {
  const counter = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, 0, 0];
  const [k, l, c, d] = philox(counter, SCRAMBLING_KEY);
  const vector = new Float32Array(channels);
  for (let at = 0; at < channels; at += 4) {
    const bits = philox([at / 4, 0, c, d], [k, l]);
    const four = [...normal(bits[0], bits[1]), ...normal(bits[2], bits[3])];
    vector.set(four.slice(0, channels - at), at);
  }
  return vector;
}
