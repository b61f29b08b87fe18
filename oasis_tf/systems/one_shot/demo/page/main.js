// The page: the image of a seed, or of a latent between those of two seeds. model.json describes the
// model and names what generates.

import { fromB64 } from "./base64.js";
import { Failure, getJson } from "./fetching.js";
import { attempt, complain, forgive, save, speak } from "./messages.js";
import { Newest } from "./newest.js";
import { decodePng, encodePng } from "./png.js";
import { predict } from "./predictions.js";
import { another, fromFragment, MOST_SEED, toFragment } from "./state.js";

const COVER = 150; // of 255: how much of the image an object's colour covers

const $ = (id) => document.getElementById(id);
let model, newest, state;
let shown = null; // Blob of a PNG file
let mask = null; // { width, height, values }

// === State ===

/** Shows a state; it becomes the page's address, and if `kept`, Back leads to the one before. */
function go(next, { kept = false, said } = {}) {
  state = next;
  const change = kept ? "pushState" : "replaceState";
  if (location.hash !== toFragment(state)) history[change](null, "", toFragment(state));
  $("seed").value = state.seed;
  $("to").value = state.to;
  $("share").value = Math.round(state.share * 100);
  if (said) speak(said);
  newest.want();
}

function takeAddress() {
  const next = fromFragment(location.hash);
  if (next && toFragment(next) !== toFragment(state)) go(next);
}

/** Takes the seed that somebody typed into a field. */
function takeSeed(name) {
  return attempt(() => {
    const seed = $(name).valueAsNumber;
    if (!Number.isInteger(seed) || seed < 0 || seed > MOST_SEED) {
      $(name).value = state[name];
      throw new Failure(`A seed is a whole number from 0 to ${MOST_SEED}.`);
    }
    go({ ...state, [name]: seed }, { kept: true });
  });
}

// === The image ===

async function ask() {
  const { seed, to, share } = state;
  const { prediction, modelMs } = await predict(model.backend, "png", {
    seed,
    other_seed: to,
    share,
  });
  const { image_bytes: image, mask_bytes: ids } = prediction.b64
    ? { image_bytes: prediction } // a single output comes without its name
    : prediction;
  const picture = new Blob([fromB64(image)], { type: "image/png" });
  return { picture, ids: ids && (await decodePng(fromB64(ids))), modelMs };
}

async function show({ picture, ids, modelMs }, milliseconds) {
  const bitmap = await createImageBitmap(picture);
  $("picture").getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  [shown, mask] = [picture, ids];
  if (mask) showMask();
  const inModel = modelMs === null ? "" : `, model ${modelMs.toFixed(0)} ms`;
  $("latency").textContent = `${milliseconds.toFixed(0)} ms${inModel}`;
  $("latency").hidden = false;
  $("save-image").disabled = $("save-mask").disabled = false;
}

function showMask() {
  const { width, height, values } = mask;
  const image = new ImageData(width, height);
  values.forEach((id, i) => {
    image.data.set([...model.colours[id], id ? COVER : 0], 4 * i);
  });
  $("mask").getContext("2d").putImageData(image, 0, 0);
}

function showWorking(working) {
  document.body.dataset.state = working ? "working" : "idle";
  $("frame").setAttribute("aria-busy", working);
  $("busy-text").textContent = "Generating …";
}

function showWaiting(seconds) {
  $("busy-text").textContent = `The server is busy: next try in ${Math.ceil(seconds)} s`;
  speak($("busy-text").textContent);
}

// === Files ===

function nameOf(what) {
  const between = state.share ? `_${Math.round(state.share * 100)}_to${state.to}` : "";
  return `seed${state.seed}${between}${what}.png`;
}

const saveImage = attempt(() => save(shown, nameOf("")));

/** A palette PNG of ids, as the commands write it. */
const saveMask = attempt(async () => {
  const { width, height, values } = mask;
  save(await encodePng(values, width, height, model.colours), nameOf("_mask"));
});

// === Connections ===

function describe() {
  const { width, height, origin, colours } = model;
  const masks = colours.length ? ` · masks of ${colours.length} classes` : "";
  $("about").textContent = `${width} × ${height}${masks} · ${origin}`;
  document.documentElement.style.setProperty("--aspect", width / height);
  for (const id of ["picture", "mask"]) Object.assign($(id), { width, height });
  for (const id of ["mask", "mask-switch", "save-mask"]) $(id).hidden = !colours.length;
}

function connect() {
  $("another").addEventListener("click", () => {
    go(another(state), { kept: true, said: "Another one" });
  });
  for (const name of ["seed", "to"]) $(name).addEventListener("change", takeSeed(name));
  // Browsers bound how often the address may change: it follows when the slider rests.
  $("share").addEventListener("input", () => {
    state = { ...state, share: $("share").valueAsNumber / 100 };
    newest.want();
  });
  $("share").addEventListener("change", () => go(state));
  $("show-mask").addEventListener("change", () => ($("mask").hidden = !$("show-mask").checked));
  $("save-image").addEventListener("click", saveImage);
  $("save-mask").addEventListener("click", saveMask);
  $("message").addEventListener("click", forgive);
  addEventListener("popstate", takeAddress);
}

async function start() {
  showWorking(true);
  model = await getJson("model.json");
  describe();
  const working = showWorking;
  newest = new Newest({ ask, done: show, failed: complain, working, waiting: showWaiting });
  connect();
  go(fromFragment(location.hash) ?? { seed: 0, to: 1, share: 0 });
}

start().catch((error) => {
  showWorking(false);
  complain(error, true);
});
