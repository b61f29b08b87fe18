// Uploaded files, read by the demo's server.

import { fromB64 } from "./base64.js";
import { answer, Failure } from "./fetching.js";
import { decodePng } from "./png.js";

async function upload(path, file, most) {
  if (file.size > most) {
    const megabytes = (most / 2 ** 20).toFixed(0);
    throw new Failure(`${file.name} is too large: files may have ${megabytes} MB at most.`, 413);
  }
  return (await answer(path, { method: "POST", body: file })).json();
}

/** The label map, { width, height, values }, of a file, and its `original` width and height. */
export async function readLabels(file, model) {
  const { label_map_bytes: bytes, width, height } = await upload(
    "api/labels", file, model.max_upload,
  );
  return { ...(await decodePng(fromB64(bytes))), original: { width, height } };
}

/** A photograph at the model's size, a Blob. */
export async function readPhotograph(file, model) {
  const { image_bytes: bytes } = await upload("api/photograph", file, model.max_upload);
  return new Blob([fromB64(bytes)], { type: "image/png" });
}
