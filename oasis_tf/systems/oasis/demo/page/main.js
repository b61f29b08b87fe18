// The page: a label map, its noise, and the image that the model generates. model.json describes the
// model and names the backend that runs it.

import { Failure, getBytes, getJson } from "./fetching.js";
import { History } from "./history.js";
import { Newest } from "./newest.js";
import * as noise from "./noise.js";
import { Pane } from "./pane.js";
import { decodePng, encodeImage, encodePng } from "./png.js";
import { Palette } from "./palette.js";
import { Pen } from "./pen.js";
import { connectKeys } from "./keys.js";

const MESSAGE_MS = 9000;
const IMAGE_NAME = "oasis_image.png";
const LABELS_NAME = "oasis_labels.png";
const BACKENDS = { rest: "./rest.js", litert: "./litert.js" };
const READERS = { server: "./uploads.js", page: "./files.js" };

const $ = (id) => document.getElementById(id);
const panes = { map: new Pane($("map")), image: new Pane($("image")) };
let model, backend, reader, palette, pen, history, newest;
let shown = null; // Blob of a PNG file, or ImageData
let messageTimer;

// === Messages ===

function complain(error) {
  if (!(error instanceof Failure)) console.error(error);
  $("message").textContent = error.message;
  $("message").hidden = false;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(forgive, MESSAGE_MS);
}

function forgive() {
  $("message").hidden = true;
}

function speak(text) {
  $("spoken").textContent = text;
}

/** Runs an action of the user; failures become a message. */
function attempt(action) {
  return async (...inputs) => {
    try {
      forgive();
      await action(...inputs);
    } catch (error) {
      complain(error);
    }
  };
}

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
  $("share").value = Math.round(state.noise.share * 100);
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
  shown = picture;
  await panes.image.showImage(picture);
  const inModel = modelMs === null ? "" : `, model ${modelMs.toFixed(0)} ms`;
  $("latency").textContent = `${milliseconds.toFixed(0)} ms${inModel}`;
  $("latency").hidden = false;
  $("save-image").disabled = false;
}

function showWorking(working) {
  document.body.dataset.state = working ? "working" : "idle";
}

// === Noise ===

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
  const { original, ...labels } = await reader.readLabels(file, model);
  begin(checked(labels));
  const { width, height } = original;
  const same = width === model.width && height === model.height;
  speak(same ? `${file.name} opened` : `${file.name} opened, resized from ${width} × ${height}`);
});

const openPhotograph = attempt(async (file) => {
  showWorking(true);
  try {
    const photograph = await reader.readPhotograph(file, model);
    begin(checked(await backend.segment(photograph)), photograph);
    speak(`${file.name} segmented and generated again`);
  } finally {
    showWorking(false);
  }
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

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const saveImage = attempt(async () => {
  if (shown) save(shown instanceof Blob ? shown : await encodeImage(shown), IMAGE_NAME);
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
  $("reroll-class").querySelector(".label").textContent = `Re-roll ${name}`;
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
    "save-image": saveImage,
    "save-labels": saveLabels,
    "open-help": () => $("help").showModal(),
  };
  for (const [id, action] of Object.entries(onClick)) $(id).addEventListener("click", action);
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
  showWorking(true);
  model = await getJson("model.json");
  const [{ createBackend }, files] = await Promise.all([
    import(BACKENDS[model.backend.kind]),
    import(READERS[model.reader]),
  ]);
  reader = files;
  backend = await createBackend(model);
  palette = new Palette(model, showClass);
  describe();
  newest = new Newest({ ask, done: showImage, failed: complain, working: showWorking });
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
  history = new History({ map: await firstMap(), noise: noise.firstNoise(), photograph: null });
  connect();
  show();
  await addExamples();
}

start().catch((error) => {
  showWorking(false);
  complain(error);
  clearTimeout(messageTimer); // there is nothing else to be seen
});
