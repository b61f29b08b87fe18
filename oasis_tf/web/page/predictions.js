// Predictions of a server in TensorFlow Serving's REST form, the demo's own or another.

import { toB64 } from "./base64.js";
import { answer, getJson } from "./fetching.js";

const CLIENT = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16)).join("");
const TIMEOUT_MS = 120_000;
// For the demo's own server: of the requests of one client it answers the newest alone.
const OWN = { "Content-Type": "application/json" };
// For another: no header that needs a preflight request. TensorFlow Serving reads JSON of any type.
const OTHER = { "Content-Type": "text/plain" };

async function instanceOf(inputs) {
  const entries = Object.entries(inputs).map(async ([name, value]) => [
    name,
    value instanceof Blob ? await toB64(value) : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

function silence({ url, own }) {
  if (own) return undefined;
  return (
    `TensorFlow Serving does not answer this page at ${url}. It must be running, with ` +
    "--rest_api_enable_cors_support."
  );
}

/** Names of the signatures of a backend, { url, own }. */
export async function signaturesOf(backend) {
  const { metadata } = await getJson(`${backend.url}/metadata`, silence(backend));
  return Object.keys(metadata.signature_def.signature_def);
}

/**
 * What a signature gives for inputs: { prediction, modelMs: milliseconds in the model, or null }.
 * purpose: requests of other purposes are not superseded by this one.
 */
export async function predict(backend, signature, inputs, purpose = "") {
  const { url, own } = backend;
  const response = await answer(
    `${url}:predict`,
    {
      method: "POST",
      headers: own ? { ...OWN, "X-Client": `${CLIENT}${purpose}` } : OTHER,
      body: JSON.stringify({ signature_name: signature, instances: [await instanceOf(inputs)] }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    },
    silence(backend),
  );
  const timing = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  const { predictions } = await response.json();
  return { prediction: predictions[0], modelMs: timing ? Number(timing[1]) : null };
}
