// What people are told, and files that they save. The page has elements `message` and `spoken`.

import { Failure } from "./fetching.js";

const MESSAGE_MS = 9000;
const $ = (id) => document.getElementById(id);
let timer;

/** Shows what went wrong; for good, if there is nothing else to be seen. */
export function complain(error, forGood = false) {
  if (!(error instanceof Failure)) console.error(error);
  $("message").textContent = error.message;
  $("message").hidden = false;
  clearTimeout(timer);
  if (!forGood) timer = setTimeout(forgive, MESSAGE_MS);
}

export function forgive() {
  $("message").hidden = true;
}

/** Tells readers of screens what happened. */
export function speak(text) {
  $("spoken").textContent = text;
}

/** Runs an action of the user; failures become a message. */
export function attempt(action) {
  return async (...inputs) => {
    try {
      forgive();
      await action(...inputs);
    } catch (error) {
      complain(error);
    }
  };
}

/** Saves a Blob as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
