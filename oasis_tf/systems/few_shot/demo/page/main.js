// The page: an image of a latent, and beside it what the source generates from the same one.
// model.json describes the model and names what generates.

import { getJson } from "./fetching.js";
import { drawPng, generate, Generating, showWorking, typedSeed } from "./generating.js";
import { attempt, complain, forgive, save } from "./messages.js";
import { another, first, fromFragment, toFragment } from "./state.js";

const $ = (id) => document.getElementById(id);
// What is shown -> the output of the model that it is.
const OUTPUTS = { picture: "image_bytes", source: "source_bytes" };
let model;
let sliders = []; // elements
const files = {}; // Blobs of PNG files

const page = new Generating({
  toFragment,
  fromFragment: (text) => fromFragment(text, model.sliders),
  ask,
  show,
  showState,
});

function showState({ seed, amounts, truncation }) {
  $("seed").value = seed;
  $("truncation").value = truncation;
  sliders.forEach((slider, k) => (slider.value = amounts[k]));
}

/** The state that seed field and sliders show. */
function fromSliders() {
  return {
    ...page.state,
    amounts: sliders.map((slider) => slider.valueAsNumber),
    truncation: $("truncation").valueAsNumber,
  };
}

const takeSeed = attempt(() => {
  page.go({ ...page.state, seed: typedSeed($("seed"), page.state.seed) }, { kept: true });
});

// === The images ===

function ask({ seed, amounts, truncation }) {
  return generate(model.backend, {
    seed,
    amounts: amounts.map((amount) => amount / 100),
    truncation: truncation / 100,
  });
}

async function show({ outputs }) {
  for (const [id, name] of Object.entries(OUTPUTS)) {
    if (!outputs[name]) continue;
    files[id] = await drawPng($(id), outputs[name]);
    $(`save-${id}`).disabled = false;
  }
}

function saveAs(id, what) {
  return attempt(() => save(files[id], `seed${page.state.seed}${what}.png`));
}

// === Connections ===

function describe() {
  const { width, height, origin, adapted } = model;
  $("about").textContent = `${width} × ${height} · ${origin}`;
  document.documentElement.style.setProperty("--aspect", width / height);
  for (const id of Object.keys(OUTPUTS)) Object.assign($(id), { width, height });
  for (const id of ["source-figure", "save-source"]) $(id).hidden = !adapted;
  $("target-caption").textContent = adapted ? "Adapted" : "Generated";
}

function addSliders() {
  for (let k = 1; k <= model.sliders; k++) {
    const label = document.createElement("label");
    label.textContent = `Direction ${k}`;
    label.htmlFor = `slider${k}`;
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", id: `slider${k}`, min: -100, max: 100, step: 1, value: 0 });
    $("sliders").append(label, slider);
    sliders.push(slider);
  }
}

function connect() {
  $("another").addEventListener("click", () => {
    page.go(another(page.state), { kept: true, said: "Another one" });
  });
  $("reset").addEventListener("click", () => {
    page.go({ ...first(model.sliders), seed: page.state.seed }, { kept: true, said: "Sliders reset" });
  });
  $("seed").addEventListener("change", takeSeed);
  // Browsers bound how often the address may change: it follows when a slider rests.
  for (const slider of [...sliders, $("truncation")]) {
    slider.addEventListener("input", () => page.slide(fromSliders()));
    slider.addEventListener("change", () => page.go(fromSliders()));
  }
  $("save-picture").addEventListener("click", saveAs("picture", ""));
  $("save-source").addEventListener("click", saveAs("source", "_source"));
  $("message").addEventListener("click", forgive);
}

async function start() {
  showWorking(true);
  model = await getJson("model.json");
  describe();
  addSliders();
  connect();
  page.begin(first(model.sliders));
}

start().catch((error) => {
  showWorking(false);
  complain(error, true);
});
