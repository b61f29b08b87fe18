// Keys of the whole page.

const $ = (id) => document.getElementById(id);

const CLICKS = {
  r: "reroll-all",
  c: "reroll-class",
  g: "reroll-region",
  o: "open-labels",
  p: "open-photograph",
  v: "variants",
  s: "save-image",
  w: "save-large",
  m: "save-labels",
  x: "compare",
  "?": "open-help",
};
const TOOLS = { b: "brush", e: "eraser", f: "fill", i: "pick", l: "lasso" };
const FOCUS = { "/": "search", d: "seed", n: "share", k: "map-frame" };

const takesText = (element) =>
  element.matches("input[type=search], input[type=number], textarea") || element.isContentEditable;

function undoes(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return null;
  const key = event.key.toLowerCase();
  if (key === "z") return event.shiftKey ? "redo" : "undo";
  return key === "y" ? "redo" : null;
}

function single(event, { palette, pen }) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (CLICKS[key]) {
    const button = $(CLICKS[key]);
    if (!button.hidden) button.click();
  } else if (TOOLS[key]) {
    const [radio] = document.querySelectorAll(`[name=tool][value=${TOOLS[key]}]`);
    if (!radio.parentElement.hidden) pen.select(TOOLS[key]);
  } else if (FOCUS[key]) $(FOCUS[key]).focus();
  else if (key === "[" || key === "]") pen.resize(key === "[" ? -1 : 1);
  else if (key >= "1" && key <= "9" && palette.visible[key - 1]) {
    palette.select(palette.visible[key - 1].id);
  } else return false;
  return true;
}

/** Connects all shortcuts; those without Ctrl can be switched off, except on the label map. */
export function connectKeys({ palette, pen }) {
  addEventListener("keydown", (event) => {
    if ($("help").open || $("sheet").open || event.defaultPrevented) return;
    const { target } = event;
    const change = undoes(event);
    if (change && !takesText(target)) {
      event.preventDefault();
      $(change).click();
      return;
    }
    if (takesText(target)) return;
    const onMap = target === $("map-frame");
    if (event.key === "Escape") {
      if (!pen.cancel()) pen.drop();
      return;
    }
    const used =
      (onMap && pen.key(event)) ||
      (!event.ctrlKey && !event.metaKey && !event.altKey && (onMap || $("single-keys").checked) &&
        single(event, { palette, pen }));
    if (used) event.preventDefault();
  });
}
