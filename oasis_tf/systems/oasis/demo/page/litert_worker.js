// Runs .tflite files with LiteRT.js in a worker, so that drawing stays smooth. It is no module:
// LiteRT.js loads its WebAssembly by importScripts, which modules lack. BASE is the page's folder.

const FOLDER = `${self.BASE}litert/`;
const networks = {};
let starting = null;
let last = Promise.resolve();

// LiteRT.js would start a graphics card that is not used, and it logs progress as warnings.
Object.defineProperty(navigator, "gpu", { value: undefined });
console.warn = console.debug;

async function start() {
  const library = await import(`${FOLDER}index.js`);
  self.Module = { locateFile: (name) => FOLDER + name, printErr: (text) => console.debug(text) };
  await library.loadLiteRt(FOLDER);
  return library;
}

async function load(name, file) {
  const response = await fetch(self.BASE + file).catch(() => null);
  if (!response?.ok) throw new Error(`${file} cannot be loaded.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  starting ??= start();
  networks[name] = await (await starting).loadAndCompile(bytes, { accelerator: "wasm" });
}

async function run(name, inputs) {
  const { Tensor } = await starting;
  const began = performance.now();
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([key, { values, shape }]) => [key, new Tensor(values, shape)]),
  );
  const results = await networks[name].run(tensors);
  const outputs = {};
  for (const [key, tensor] of Object.entries(results)) {
    outputs[key] = (await tensor.data()).slice();
    tensor.delete();
  }
  Object.values(tensors).forEach((tensor) => tensor.delete());
  return { outputs, milliseconds: performance.now() - began };
}

async function work({ id, ...task }) {
  try {
    const answer = task.load ? await load(task.load, task.file) : await run(task.run, task.inputs);
    postMessage({ id, ...answer });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
}

self.addEventListener("message", ({ data }) => {
  last = last.then(() => work(data));
});
