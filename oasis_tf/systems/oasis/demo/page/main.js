// The page: a label map, its noise, and the image that the model generates. model.json describes the
// model and names the backend that runs it.

import { Failure, getBytes, getJson, patiently } from "./fetching.js";
import { refusePhotograph } from "./files.js";
import { History } from "./history.js";
import { attempt, complain, forgive, save, speak } from "./messages.js";
import { Newest } from "./newest.js";
import * as noise from "./noise.js";
import { Pane } from "./pane.js";
import { decodePng, encodeImage, encodePng } from "./png.js";
import { Palette } from "./palette.js";
import { Pen } from "./pen.js";
import { Sheet } from "./sheet.js";
import { connectKeys } from "./keys.js";

const IMAGE_NAME = "oasis_image.png";
const LARGE_NAME = "oasis_image_large.png";
const LARGE_SCALE = 2;
const LABELS_NAME = "oasis_labels.png";
const BACKENDS = { rest: "./rest.js", litert: "./litert.js" };
const READERS = { server: "./uploads.js", page: "./files.js" };

const $ = (id) => document.getElementById(id);
const panes = { map: new Pane($("map")), image: new Pane($("image")) };
let model, backend, reader, palette, pen, history, newest, sheet;
let shown = null; // Blob of a PNG file, or ImageData
let working = 0; // how much of it is under way

// === State ===

function commit(change, said) {
  history.commit({ ...history.state, ...change });
  compare(false); // shows what was changed
  show();
  if (said) speak(said);
}

/** A new label map: from an example, a file or a photograph. */
function begin(map, photograph = null) {
  pen.drop();
  commit({ map, photograph });
}

function show() {
  const { state } = history;
  panes.map.showLabels(state.map, palette.colours);
  $("undo").disabled = !history.canUndo;
  $("redo").disabled = !history.canRedo;
  showNoise(state.noise);
  showPhotograph(state.photograph);
  newest.want();
}

function step(direction) {
  pen.cancel();
  if (!history[direction]()) return;
  show();
  speak(direction === "undo" ? "Undone" : "Done again");
}

// === The model's image ===

function ask() {
  const map = pen.draft ?? history.state.map;
  const { share } = history.state.noise;
  return backend.generate(map, { ...noise.noiseOf(history.state.noise, map), share });
}

async function showImage({ picture, modelMs }, milliseconds) {
  $("busy-text").textContent = "Generating …";
  shown = picture;
  await panes.image.showImage(picture);
  const inModel = modelMs === null ? "" : `, model ${modelMs.toFixed(0)} ms`;
  $("latency").textContent = `${milliseconds.toFixed(0)} ms${inModel}`;
  $("latency").hidden = false;
  $("save-image").disabled = false;
}

function showWorking(begins) {
  working += begins ? 1 : -1;
  document.body.dataset.state = working ? "working" : "idle";
  $("image-frame").setAttribute("aria-busy", working > 0);
  $("busy-text").textContent = "Generating …";
}

function showWaiting(seconds) {
  const text = `The server is busy: next try in ${Math.ceil(seconds)} s`;
  $("busy-text").textContent = text;
  speak(text);
}

/** Runs what takes a while, and shows that it does. */
async function busily(action) {
  showWorking(true);
  try {
    return await action();
  } finally {
    showWorking(false);
  }
}

// === Noise ===

/** Shows seed and slider, also in the address of the page, which can be shared. */
function showNoise(now) {
  const [seed, next] = now.base;
  $("seed").value = seed;
  $("next-seed").textContent = next;
  $("share").value = Math.round(now.share * 100);
  $("own-noise").hidden = noise.isPlain(now);
  const fragment = noise.toFragment(now);
  if (model.noise_channels && location.hash !== fragment) {
    window.history.replaceState(null, "", fragment);
  }
}

const takeSeed = attempt(async () => {
  const seed = $("seed").valueAsNumber;
  if (!Number.isInteger(seed) || seed < 0 || seed > noise.MOST_SEED) {
    $("seed").value = history.state.noise.base[0];
    throw new Failure(`A seed is a whole number from 0 to ${noise.MOST_SEED}.`);
  }
  reroll((now) => noise.ofSeed(seed, now.share), `Noise of seed ${seed}`);
});

function takeFragment() {
  const now = noise.fromFragment(location.hash);
  if (now && noise.toFragment(now) !== noise.toFragment(history.state.noise)) {
    reroll(() => now, `Noise of seed ${now.base[0]}`);
  }
}

/** The image of other noise, or larger, beside the one that is shown. */
function askBeside(now, purpose, scale = 1) {
  const { map } = history.state;
  const { index, ...pairs } = noise.noiseOf(now, map);
  const large = (values) => enlarged(values, model.width, scale);
  const wanted = { ...pairs, index: large(index), share: now.share };
  return backend.generate(large(map), wanted, { scale, purpose });
}

/** Every pixel as a square of pixels. */
function enlarged(values, width, scale) {
  const out = new Uint16Array(values.length * scale ** 2);
  for (let i = 0; i < out.length; i++) {
    const [x, y] = [i % (width * scale), Math.floor(i / (width * scale))];
    out[i] = values[Math.floor(y / scale) * width + Math.floor(x / scale)];
  }
  return out;
}

function reroll(change, said) {
  commit({ noise: change(history.state.noise) }, said);
}

const rerollAll = () => reroll((now) => noise.rerollAll(now), "New noise everywhere");

function rerollClass() {
  const { id, name } = palette.selected;
  reroll((now) => noise.rerollClass(now, history.state.map, id), `New noise for ${name}`);
}

function rerollRegion() {
  if (!pen.region) return;
  reroll((now) => noise.rerollRegion(now, pen.region.mask), "New noise in the region");
}

let shareBefore = null;

function slide() {
  shareBefore ??= history.state;
  history.state = {
    ...history.state,
    noise: noise.withShare(history.state.noise, $("share").valueAsNumber / 100),
  };
  newest.want();
}

function slideEnd() {
  if (!shareBefore) return;
  const { noise: now } = history.state;
  history.state = shareBefore;
  shareBefore = null;
  commit({ noise: now });
}

// === Files ===

function checked({ width, height, values }) {
  if (width !== model.width || height !== model.height) {
    throw new Failure("A label map of another size came than that of the model.");
  }
  return values;
}

const openLabels = attempt(async (file) => {
  await refusePhotograph(file, backend.can);
  const read = () => patiently(() => reader.readLabels(file, model), showWaiting);
  const { original, ...labels } = await busily(read);
  begin(checked(labels));
  const { width, height } = original;
  const same = width === model.width && height === model.height;
  speak(same ? `${file.name} opened` : `${file.name} opened, resized from ${width} × ${height}`);
});

const openPhotograph = attempt(async (file) => {
  await busily(async () => {
    const photograph = await patiently(() => reader.readPhotograph(file, model), showWaiting);
    const labels = await patiently(() => backend.segment(photograph), showWaiting);
    begin(checked(labels), photograph);
    speak(`${file.name} segmented and generated again`);
  });
});

let photographUrl = null;
let photographShown = null;

function showPhotograph(blob) {
  if (blob !== photographShown) {
    if (photographUrl) URL.revokeObjectURL(photographUrl);
    photographUrl = blob && URL.createObjectURL(blob);
    if (blob) $("photograph").src = photographUrl;
    photographShown = blob;
    compare(false);
  }
  $("compare").hidden = !blob;
}

function compare(on = $("photograph").hidden) {
  on = on && photographShown !== null;
  $("photograph").hidden = !on;
  $("compare").setAttribute("aria-pressed", on);
  $("compare").textContent = on ? "Show image" : "Show photograph";
}

const saveImage = attempt(async () => {
  if (shown) save(shown instanceof Blob ? shown : await encodeImage(shown), IMAGE_NAME);
});

const saveLarge = attempt(async () => {
  const ask = () => askBeside(history.state.noise, "large", LARGE_SCALE);
  const { picture } = await busily(() => patiently(ask, showWaiting));
  save(picture, LARGE_NAME);
  speak(`Saved at ${LARGE_SCALE * model.width} × ${LARGE_SCALE * model.height}`);
});

/** A label PNG of raw ids, in colours where a palette can hold them, as the commands read it. */
const saveLabels = attempt(async () => {
  const raw = palette.toRaw(history.state.map);
  const blob = await encodePng(raw, model.width, model.height, palette.rawColours());
  save(blob, LABELS_NAME);
});

// === Examples ===

async function addExamples() {
  addExample("Blank", blank());
  for (const { name, url } of model.examples) addExample(name, await readExample(url));
}

async function readExample(url) {
  return checked(await decodePng(await getBytes(url)));
}

function blank() {
  return new Uint16Array(model.width * model.height).fill(palette.eraser.id);
}

function addExample(name, map) {
  const button = document.createElement("button");
  const thumbnail = document.createElement("canvas");
  button.type = "button";
  button.title = name;
  button.setAttribute("aria-label", `Begin with ${name}`);
  button.className = "thumbnail";
  Object.assign(thumbnail, { width: model.width, height: model.height });
  const image = thumbnail.getContext("2d").createImageData(model.width, model.height);
  const pixels = new Uint32Array(image.data.buffer);
  map.forEach((id, i) => (pixels[i] = palette.colours[id]));
  thumbnail.getContext("2d").putImageData(image, 0, 0);
  button.append(thumbnail);
  button.addEventListener("click", () => {
    begin(map);
    speak(`${name} opened`);
  });
  $("examples").append(button);
}

async function firstMap() {
  return model.examples.length ? readExample(model.examples[0].url) : blank();
}

// === Connections ===

function describe() {
  const { dataset, width, height, origin, classes } = model;
  $("about").textContent =
    `${dataset} · ${classes.length} classes · ${width} × ${height} · ${origin}`;
  document.documentElement.style.setProperty("--aspect", width / height);
  for (const pane of Object.values(panes)) pane.setSize(width, height);
  $("no-noise").hidden = model.noise_channels > 0;
  for (const element of document.querySelectorAll("[data-needs]")) {
    element.hidden = !backend.can[element.dataset.needs];
  }
}

function showClass({ name, css }) {
  $("reroll-class").querySelector(".label").textContent = name;
  $("reroll-class").setAttribute("aria-label", `Re-roll ${name}`);
  $("reroll-class").querySelector(".swatch").style.background = css;
  // A class is chosen to be drawn with; fill and lasso can use it, too.
  if (pen?.tool === "eraser" || pen?.tool === "pick") pen.select("brush");
}

function showRegion(region) {
  $("reroll-region").disabled = !region;
}

function onFile(button, input, open) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", () => {
    const [file] = $(input).files;
    $(input).value = ""; // so that the same file can be chosen again
    if (file) open(file);
  });
}

function connect() {
  const onClick = {
    undo: () => step("undo"),
    redo: () => step("redo"),
    "reroll-all": rerollAll,
    "reroll-class": rerollClass,
    "reroll-region": rerollRegion,
    compare: () => compare(),
    variants: () => sheet.open(history.state.noise),
    "save-image": saveImage,
    "save-large": saveLarge,
    "save-labels": saveLabels,
    "open-help": () => $("help").showModal(),
  };
  for (const [id, action] of Object.entries(onClick)) $(id).addEventListener("click", action);
  $("seed").addEventListener("change", takeSeed);
  addEventListener("hashchange", takeFragment);
  $("share").addEventListener("input", slide);
  $("share").addEventListener("change", slideEnd);
  $("message").addEventListener("click", forgive);
  onFile("open-labels", "labels-file", openLabels);
  onFile("open-photograph", "photograph-file", openPhotograph);
  connectKeys({ palette, pen });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => event.preventDefault());
  new ResizeObserver(() => pen.showMarks()).observe($("panes"));
}

async function start() {
  model = await getJson("model.json");
  const [{ createBackend }, files] = await Promise.all([
    import(BACKENDS[model.backend.kind]),
    import(READERS[model.reader]),
  ]);
  reader = files;
  backend = await createBackend(model);
  palette = new Palette(model, showClass);
  describe();
  newest = new Newest({
    ask,
    done: showImage,
    failed: complain,
    working: showWorking,
    waiting: showWaiting,
  });
  sheet = new Sheet($("sheet"), {
    size: model,
    generate: async (now) => (await askBeside(now, "sheet")).picture,
    chosen: (now) => reroll(() => now, `Noise of seed ${now.base[0]}`),
    save,
    failed: complain,
    waiting: showWaiting,
  });
  pen = new Pen({
    panes,
    palette,
    size: model,
    map: () => history.state.map,
    changed: (draft) => {
      panes.map.showLabels(draft, palette.colours);
      newest.want();
    },
    finished: (map) => commit({ map }),
    cancelled: () => show(),
    regionChanged: showRegion,
    speak,
  });
  const first = noise.fromFragment(location.hash) ?? noise.firstNoise();
  history = new History({ map: await firstMap(), noise: first, photograph: null });
  connect();
  show();
  await addExamples();
}

busily(start).catch((error) => complain(error, true));
