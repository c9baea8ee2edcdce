// A grid of any number of images: only the rows in sight have elements, and these are used again while one scrolls.

import { thumbnail } from "./api.js";
import { element, percent, throttled } from "./dom.js";
import { complain } from "./messages.js";

const GAP = 8; // pixels
const SIDE = 16; // left and right of the rows
const CAPTION = 26;
const OVERSCAN = 2; // rows above and below
const SETTLED = 70; // milliseconds without scrolling until images are asked for
const TALLEST = 30_000_000; // pixels; browsers cut elements above 33 million
const PER_FRAME = 6; // images that begin to load; more at once would hold up the next frame
const MOST_SELECTED = 20_000;

let grids = 0;

/** Change the text of an element that has one text node, if it is another. */
function write(made, text) {
  if (made.firstChild.data !== text) made.firstChild.data = text;
}

/** A cell that is not used keeps nothing of its image. */
function forget(cell) {
  if (cell.at === null) return;
  cell.at = null;
  cell.image = null;
  cell.loaded = null;
  cell.removeAttribute("id");
  cell.removeAttribute("aria-label");
  cell.firstChild.removeAttribute("src");
}

/** A focusable grid over an ImageList. Tells "select", "open" (with an image) and "range" (what is in sight). */
export class Grid extends EventTarget {
  selected = new Set(); // ids
  active = 0; // index of the cell that the keys move
  #anchor = 0;
  #columns = 1;
  #pool = []; // row elements
  #shown = { first: 0, last: -1 }; // rows
  #moved = 0; // when one scrolled last
  #settle = 0;
  #frame = 0;
  #laidOut = "";
  #wanted = []; // cells whose images are to be loaded
  #loading = 0;
  #turn = 0; // of selecting a range: what an earlier turn finds later does not count
  #atTop = true; // whether another list is to be shown from its beginning
  #held = { active: null, anchor: null }; // ids, as they were drawn last

  constructor(box, list, describe) {
    super();
    this.box = box;
    this.list = list;
    this.describe = describe; // image -> {label, given, suggested, wrong}
    this.name = `grid${(grids += 1)}`;
    this.cellSize = 144;
    this.space = element("div", { class: "grid-space", role: "presentation" });
    this.empty = element("p", { class: "grid-empty" });
    box.append(this.empty, this.space);
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("click", (event) => this.#click(event));
    box.addEventListener("dblclick", (event) => {
      const at = this.#indexAt(event.target);
      if (at !== null && this.list.rows[at]) this.#tell("open", this.list.rows[at]);
    });
    list.addEventListener("reset", () => this.#replaced());
    list.addEventListener("resized", (event) => {
      if (event.detail) { // places before these have moved up
        const moved = (at) => at - event.detail.filter((place) => place < at).length;
        this.active = moved(this.active);
        this.#anchor = moved(this.#anchor);
      }
      this.layout();
    });
    list.addEventListener("filled", () => this.draw());
    new ResizeObserver(throttled(() => this.layout(), 50)).observe(box);
  }

  #tell(kind, detail = null) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  get rowHeight() {
    return this.cellHeight + GAP;
  }

  resize(size) {
    const seen = this.#shown.first * this.#columns;
    this.cellSize = size;
    this.layout();
    this.box.scrollTop = Math.floor(seen / this.#columns) * this.rowHeight;
  }

  /** Widths from the box, height from the number of images. */
  layout() {
    const width = this.box.clientWidth - 2 * SIDE;
    if (width <= 0) return;
    const columns = Math.max(1, Math.floor((width + GAP) / (this.cellSize + GAP)));
    this.cellWidth = Math.floor((width - (columns - 1) * GAP) / columns);
    this.cellHeight = this.cellWidth + CAPTION;
    const before = this.#laidOut;
    this.#laidOut = `${columns} ${this.cellWidth}`;
    if (before !== this.#laidOut) this.#pool.splice(0).forEach((row) => row.remove());
    this.#columns = columns;
    const rows = Math.ceil(this.list.total / columns);
    this.space.style.height = `${Math.min(TALLEST, rows * this.rowHeight + GAP)}px`;
    this.box.style.setProperty("--cell", `${this.cellWidth}px`);
    this.box.setAttribute("aria-rowcount", rows);
    this.box.setAttribute("aria-colcount", columns);
    this.empty.hidden = this.list.total > 0;
    this.active = Math.min(this.active, Math.max(0, this.list.total - 1));
    this.draw();
  }

  /** The list was read again: the active image and the anchor of a range are where their images are now. */
  #replaced() {
    const last = Math.max(0, this.list.total - 1);
    const place = (id, before) => {
      const found = id === null ? -1 : this.list.indexOf(id);
      return found >= 0 ? found : Math.min(before, last);
    };
    const { active, anchor } = this.#atTop ? { active: null, anchor: null } : this.#held;
    this.#atTop = false;
    this.active = place(active, this.active);
    this.#anchor = place(anchor, this.#anchor);
    this.layout();
  }

  #scrolled() {
    this.#moved = performance.now();
    this.#wanted = [];
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.draw());
  }

  /** Fill the rows in sight. */
  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.cellHeight || !this.box.clientHeight) return;
    const rows = Math.ceil(this.list.total / this.#columns);
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.rowHeight) - OVERSCAN);
    const last = Math.min(rows - 1, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.rowHeight) + OVERSCAN - 1);
    this.#shown = { first, last };
    this.#held = { active: this.list.rows[this.active]?.id ?? null, anchor: this.list.rows[this.#anchor]?.id ?? null };
    const needed = Math.max(0, last - first + 1);
    while (this.#pool.length < needed) this.#pool.push(this.#makeRow());
    const size = this.#pool.length;
    const moving = performance.now() - this.#moved < SETTLED;
    const used = new Set();
    for (let row = first; row <= last; row += 1) {
      used.add(row % size);
      this.#fillRow(this.#pool[row % size], row);
    }
    this.#pool.forEach((made, at) => {
      const unused = !used.has(at);
      if (unused && !made.hidden) for (const cell of made.children) forget(cell);
      made.hidden = unused;
      if (unused) made.row = null;
    });
    const cell = this.list.total ? `${this.name}-${this.active}` : null;
    const visible = this.active >= first * this.#columns && this.active < (last + 1) * this.#columns;
    if (cell && visible) this.box.setAttribute("aria-activedescendant", cell);
    else this.box.removeAttribute("aria-activedescendant");
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => this.#settled(), moving ? SETTLED : 0);
  }

  #settled() {
    const { first, last } = this.#shown;
    if (performance.now() - this.#moved < SETTLED) {
      this.#settle = setTimeout(() => this.#settled(), SETTLED);
      return;
    }
    this.list.ensure(first * this.#columns, (last + 1) * this.#columns - 1);
    this.#wanted = this.#pool.filter((row) => !row.hidden).sort((one, other) => one.row - other.row).flatMap((row) => [...row.children]);
    this.#loadSome();
    this.#tell("range");
  }

  /** Begin to load the images of some cells, and of others in the next frames. */
  #loadSome() {
    cancelAnimationFrame(this.#loading);
    let begun = 0;
    while (begun < PER_FRAME && this.#wanted.length) begun += this.#load(this.#wanted.shift());
    if (this.#wanted.length) this.#loading = requestAnimationFrame(() => this.#loadSome());
  }

  #makeRow() {
    const row = element("div", { class: "grid-row", role: "row" });
    for (let column = 0; column < this.#columns; column += 1) {
      const image = element("img", { alt: "", decoding: "async", draggable: "false" });
      image.addEventListener("error", () => image.parentElement.classList.add("broken"));
      const caption = element("span", { class: "caption" }, element("span", {}, ""), element("small", {}, ""));
      const cell = element("div", { class: "grid-cell", role: "gridcell", draggable: "true", "aria-colindex": column + 1 },
        image, caption, element("span", { class: "mark", "aria-hidden": "true" }));
      cell.style.left = `${column * (this.cellWidth + GAP)}px`;
      row.append(cell);
    }
    this.space.append(row);
    return row;
  }

  #fillRow(made, row) {
    if (made.row !== row || made.height !== this.rowHeight) {
      made.row = row;
      made.height = this.rowHeight;
      made.style.transform = `translateY(${row * this.rowHeight + GAP}px)`;
      made.setAttribute("aria-rowindex", row + 1);
    }
    for (let column = 0; column < this.#columns; column += 1) {
      this.#fillCell(made.children[column], row * this.#columns + column);
    }
  }

  #fillCell(cell, at) {
    const image = this.list.rows[at];
    const beyond = at >= this.list.total;
    if (cell.hidden !== beyond) cell.hidden = beyond;
    if (beyond) {
      forget(cell);
      return;
    }
    if (cell.at !== at) {
      cell.at = at;
      cell.id = `${this.name}-${at}`;
    }
    const selected = image !== undefined && this.selected.has(image.id);
    const active = at === this.active;
    if (cell.selected !== selected) {
      cell.selected = selected;
      cell.setAttribute("aria-selected", selected);
    }
    if (cell.active !== active) {
      cell.active = active;
      cell.classList.toggle("active", active);
    }
    if (cell.image === image && !this.redescribe) return;
    const same = cell.image !== null && cell.image?.id === image?.id && cell.image?.hash === image?.hash;
    cell.image = image;
    const [picture, caption] = cell.children;
    if (!same) {
      picture.removeAttribute("src"); // the image of another cell must not be seen while this one loads
      cell.loaded = null;
      cell.classList.remove("broken");
    }
    if (image === undefined) {
      cell.className = active ? "grid-cell active waiting" : "grid-cell waiting";
      write(caption.firstChild, "");
      write(caption.lastChild, "");
      cell.setAttribute("aria-label", "loading");
      return;
    }
    this.#describe(cell, caption, image, active);
  }

  #describe(cell, caption, image, active) {
    const said = this.describe(image);
    cell.className = `grid-cell ${said.kind}${active ? " active" : ""}${cell.classList.contains("broken") ? " broken" : ""}`;
    write(caption.firstChild, said.text);
    write(caption.lastChild, said.probability === undefined ? "" : percent(said.probability, 0));
    cell.setAttribute("aria-label", said.label);
  }

  #load(cell) {
    const { image } = cell;
    if (!image || cell.hidden || cell.loaded === image.id) return 0;
    cell.loaded = image.id;
    cell.firstChild.src = thumbnail(image);
    return 1;
  }

  /** Describe every cell again, for example after classes were renamed. */
  redraw() {
    this.redescribe = true;
    this.draw();
    this.redescribe = false;
  }

  /** The images of which at least half is in sight. */
  inSight() {
    const top = this.box.scrollTop;
    const from = Math.max(0, Math.ceil((top - GAP - this.cellHeight / 2) / this.rowHeight));
    const to = Math.floor((top + this.box.clientHeight - GAP - this.cellHeight / 2) / this.rowHeight);
    return this.list.rows.slice(from * this.#columns, (to + 1) * this.#columns).filter((row) => row !== undefined);
  }

  /** The selected images; if none is selected, the active one. */
  chosen() {
    if (this.selected.size) return [...this.selected];
    const image = this.list.rows[this.active];
    return image ? [image.id] : [];
  }

  select(ids) {
    this.selected = new Set(ids);
    this.draw();
    this.#tell("select");
  }

  #indexAt(target) {
    const cell = target.closest?.(".grid-cell");
    return cell && this.box.contains(cell) ? cell.at : null;
  }

  imageAt(target) {
    const at = this.#indexAt(target);
    return at === null ? null : (this.list.rows[at] ?? null);
  }

  #click(event) {
    const at = this.#indexAt(event.target);
    const image = this.list.rows[at];
    if (at === null || !image) return;
    const touch = event.pointerType === "touch";
    if (event.shiftKey) {
      this.active = at;
      this.#extend(event.ctrlKey || event.metaKey);
      return;
    }
    const alone = !(event.ctrlKey || event.metaKey || touch);
    this.active = at;
    this.#begin(at);
    if (alone) {
      this.select([image.id]);
    } else {
      const ids = new Set(this.selected);
      if (!ids.delete(image.id)) ids.add(image.id);
      this.select(ids);
    }
  }

  /** Ranges begin here: a range that is still being read does not count, and another list does not go to its top. */
  #begin(at) {
    this.#anchor = at;
    this.#turn += 1;
    this.#atTop = false;
  }

  /** Select from the anchor to the active cell. */
  async #extend(keep) {
    const [first, last] = [Math.min(this.#anchor, this.active), Math.max(this.#anchor, this.active)];
    if (last - first >= MOST_SELECTED) {
      complain(`at most ${MOST_SELECTED} images can be selected at once`);
      return;
    }
    this.draw();
    const turn = (this.#turn += 1);
    try {
      const rows = await this.list.between(first, last);
      if (turn === this.#turn) this.select([...(keep ? this.selected : []), ...rows.map((row) => row.id)]);
    } catch (failure) {
      complain(failure);
    }
  }

  #key(event) {
    if (event.altKey) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight)) * this.#columns;
    const end = this.list.total - 1;
    const control = event.ctrlKey || event.metaKey;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns,
      PageUp: -page, PageDown: page, Home: -this.active, End: end - this.active,
    };
    const image = this.list.rows[this.active];
    if (event.key in steps) {
      event.preventDefault();
      if (end < 0) return;
      this.moveTo(this.active + steps[event.key], { extend: event.shiftKey, keep: control });
    } else if (event.key === " ") {
      event.preventDefault();
      if (!image) return;
      const ids = new Set(this.selected);
      if (!ids.delete(image.id)) ids.add(image.id);
      this.#begin(this.active);
      this.select(ids);
    } else if (event.key === "Enter" && image) {
      event.preventDefault();
      this.#tell("open", image);
    } else if (control && event.key.toLowerCase() === "a") {
      event.preventDefault();
      this.select(this.inSight().map((each) => each.id));
    }
  }

  /** Move the active cell and keep it in sight. */
  moveTo(at, { extend = false, keep = false } = {}) {
    this.active = Math.min(this.list.total - 1, Math.max(0, at));
    const top = Math.floor(this.active / this.#columns) * this.rowHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const below = top + this.cellHeight + 2 * GAP - this.box.clientHeight;
    if (below > this.box.scrollTop) this.box.scrollTop = below;
    if (extend) {
      this.#extend(false);
    } else {
      this.#begin(this.active);
      const image = this.list.rows[this.active];
      if (keep) this.draw();
      else this.select(image ? [image.id] : []);
    }
  }

  /** The first row in sight, so that a list can be read again around it. */
  get firstIndex() {
    return Math.max(0, this.#shown.first * this.#columns);
  }

  /** The list that comes next is shown from its beginning. */
  toTop() {
    this.active = 0;
    this.#anchor = 0;
    this.#atTop = true;
    this.box.scrollTop = 0;
  }
}
