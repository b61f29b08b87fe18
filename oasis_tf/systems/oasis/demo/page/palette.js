// The classes of the data set: a list to choose from, their colours and raw ids.

const $ = (id) => document.getElementById(id);

const cssOf = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

export class Palette {
  #radios = [];

  /** model: what model.json tells; chosen(class) is called at once and whenever another is taken. */
  constructor(model, chosen) {
    this.classes = model.classes.map((one) => ({ ...one, css: cssOf(one.color) }));
    this.colours = Uint32Array.from(this.classes, ({ color: [red, green, blue] }) =>
      // Pixels of a canvas in memory; every machine that runs browsers stores the low byte first.
      ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0,
    );
    // Without an unknown label the first class is what is left where something is rubbed out.
    this.eraser = this.classes[0];
    this.chosen = chosen;
    $("class-list").append(...this.classes.map((one) => this.#item(one)));
    $("search").addEventListener("input", () => this.#filter());
    $("search").addEventListener("keydown", (event) => this.#searchKey(event));
    $("search").hidden = this.classes.length < 9;
    this.select(this.classes[Math.min(1, this.classes.length - 1)].id);
  }

  #item(one) {
    const item = document.createElement("label");
    const radio = document.createElement("input");
    const swatch = document.createElement("span");
    const name = document.createElement("span");
    Object.assign(radio, { type: "radio", name: "class", value: one.id });
    swatch.className = "swatch";
    swatch.style.background = one.css;
    name.textContent = one.name;
    name.className = "name";
    item.append(radio, swatch, name);
    item.title = one.name;
    radio.addEventListener("change", () => this.select(one.id));
    this.#radios.push(radio);
    return item;
  }

  select(id) {
    this.selected = this.classes[id];
    this.#radios[id].checked = true;
    this.#radios[id].parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.chosen(this.selected);
  }

  /** The classes that the search leaves. */
  get visible() {
    return this.classes.filter(({ id }) => !this.#radios[id].parentElement.hidden);
  }

  #filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { id, name } of this.classes) {
      const found = words.every((word) => name.toLowerCase().includes(word));
      this.#radios[id].parentElement.hidden = !found;
    }
    $("no-class").hidden = this.visible.length > 0;
  }

  #searchKey(event) {
    if (event.key === "Escape") {
      $("search").value = "";
      this.#filter();
    } else if (event.key !== "Enter") {
      return;
    }
    const [first] = this.visible;
    if (event.key === "Enter" && first) this.select(first.id);
    if (event.key === "Enter" && !first) return;
    event.preventDefault();
    event.stopPropagation();
    $("map-frame").focus();
  }

  /** Raw ids of a label map; a class that files cannot hold becomes the first. */
  toRaw(map) {
    const raw = Uint16Array.from(this.classes, ({ raw_id: id }) => Math.max(0, id));
    this.classes.forEach(({ raw_id: id }, k) => id < 0 && (raw[k] = Math.max(0, this.eraser.raw_id)));
    return map.map((id) => raw[id]);
  }

  /** Colours by raw id, for a palette PNG; null if raw ids exceed a byte. */
  rawColours() {
    const largest = Math.max(...this.classes.map(({ raw_id: id }) => id));
    if (largest > 255) return null;
    const colours = Array.from({ length: 256 }, () => [0, 0, 0]);
    for (const { raw_id: id, color } of this.classes) if (id >= 0) colours[id] = color;
    return colours;
  }
}
