// The page: the image of a seed, or of a latent between those of two seeds. model.json describes the
// model and names what generates.

import { getJson } from "./fetching.js";
import { drawPng, generate, Generating, showWorking, typedSeed } from "./generating.js";
import { attempt, complain, forgive, save } from "./messages.js";
import { decodePng, encodePng } from "./png.js";
import { another, fromFragment, toFragment } from "./state.js";

const COVER = 150; // of 255: how much of the image an object's colour covers

const $ = (id) => document.getElementById(id);
let model;
let shown = null; // Blob of a PNG file
let mask = null; // { width, height, values }

const page = new Generating({ toFragment, fromFragment, ask, show, showState });

function showState({ seed, to, share }) {
  $("seed").value = seed;
  $("to").value = to;
  $("share").value = Math.round(share * 100);
}

/** Takes the seed that somebody typed into a field. */
function takeSeed(name) {
  return attempt(() => {
    page.go({ ...page.state, [name]: typedSeed($(name), page.state[name]) }, { kept: true });
  });
}

// === The image ===

async function ask({ seed, to, share }) {
  const { outputs, modelMs } = await generate(model.backend, { seed, other_seed: to, share });
  const ids = outputs.mask_bytes && (await decodePng(outputs.mask_bytes));
  return { image: outputs.image_bytes, ids, modelMs };
}

async function show({ image, ids }) {
  shown = await drawPng($("picture"), image);
  mask = ids;
  if (mask) showMask();
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

// === Files ===

function nameOf(what) {
  const { seed, to, share } = page.state;
  return `seed${seed}${share ? `_${Math.round(share * 100)}_to${to}` : ""}${what}.png`;
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
    page.go(another(page.state), { kept: true, said: "Another one" });
  });
  for (const name of ["seed", "to"]) $(name).addEventListener("change", takeSeed(name));
  // Browsers bound how often the address may change: it follows when the slider rests.
  $("share").addEventListener("input", () => {
    page.slide({ ...page.state, share: $("share").valueAsNumber / 100 });
  });
  $("share").addEventListener("change", () => page.go(page.state));
  $("show-mask").addEventListener("change", () => ($("mask").hidden = !$("show-mask").checked));
  $("save-image").addEventListener("click", saveImage);
  $("save-mask").addEventListener("click", saveMask);
  $("message").addEventListener("click", forgive);
}

async function start() {
  showWorking(true);
  model = await getJson("model.json");
  describe();
  connect();
  page.begin({ seed: 0, to: 1, share: 0 });
}

start().catch((error) => {
  showWorking(false);
  complain(error, true);
});
