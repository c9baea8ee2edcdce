// One image: large, with what the classifier thinks, where it looked, the nearest images, and the history of its label.

import { get, thumbnail } from "./api.js";
import { bars, counted, element } from "./dom.js";
import { complain } from "./messages.js";
import { project } from "./project.js";

const MOST_CLASSES = 5;

export class Detail {
  open = false;
  id = null;

  constructor(box, label, closed) {
    this.box = box;
    this.label = label;
    this.closed = closed;
    project.on("learning", (state) => {
      if (state?.revision !== this.solved) this.refresh();
      this.solved = state?.revision;
    });
  }

  async show(id) {
    const opening = !this.open;
    if (opening) this.looked = false;
    this.open = true;
    this.id = id;
    this.box.hidden = false;
    this.asking?.abort();
    this.asking = new AbortController();
    try {
      const image = await get(`/api/images/${id}`, this.asking.signal);
      if (this.id === id) this.#draw(image);
    } catch (failure) {
      complain(failure);
    }
  }

  refresh() {
    if (this.open) this.show(this.id);
  }

  close() {
    const image = this.image;
    this.open = false;
    this.image = null;
    this.box.hidden = true;
    this.box.replaceChildren();
    this.closed(image);
  }

  #draw(image) {
    this.image = image;
    const focused = this.box.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    const close = element("button", { type: "button", class: "icon", "data-part": "close", "aria-label": "Close the details (Escape)", title: "Close (Escape)", click: () => this.close() }, "×");
    const made = [
      element("div", { class: "detail-head" }, element("h2", { title: image.uri ?? image.name }, image.name), close),
      this.#picture(image),
      element("p", { class: "quiet" }, `${image.width} × ${image.height} pixels`),
    ];
    if (image.problem) made.push(element("p", { class: "note" }, image.problem));
    made.push(this.#labels(image));
    if (image.probabilities?.length) {
      const top = image.probabilities.map((each) => ({ name: each.name ?? project.nameOf(each.class), probability: each.probability }));
      top.sort((one, other) => other.probability - one.probability);
      made.push(element("h3", {}, "The classifier says"), bars(top.slice(0, MOST_CLASSES)));
    }
    if (image.neighbors?.length) made.push(element("h3", {}, "Nearest images"), this.#neighbors(image.neighbors));
    if (image.history?.length) made.push(element("h3", {}, "History of the label"), this.#history(image.history));
    this.box.replaceChildren(...made);
    if (focused) this.box.querySelector(`[data-part="${focused}"]`)?.focus();
  }

  #picture(image) {
    if (image.problem) return null;
    const original = element("img", { class: "whole", src: `/api/images/${image.id}/file`, alt: `The image ${image.name}`, decoding: "async" });
    const figure = element("figure", {}, original);
    const looked = element("button", { type: "button", "data-part": "looked", "aria-pressed": String(Boolean(this.looked)) }, "Where the network looked");
    looked.addEventListener("click", () => {
      this.looked = !this.looked;
      this.refresh();
    });
    if (this.looked) {
      const map = element("img", { class: "whole", src: `/api/images/${image.id}/saliency?r=${project.facts?.learning?.revision ?? 0}`, alt: "The image, bright where it speaks for the class that the classifier says" });
      map.addEventListener("error", async () => {
        map.remove();
        try { // the server says why
          await get(`/api/images/${image.id}/saliency`);
        } catch (failure) {
          complain(failure);
        }
      });
      figure.replaceChildren(map);
    }
    figure.append(element("figcaption", {}, looked));
    return figure;
  }

  #labels(image) {
    const given = image.class ?? image.class_id ?? null;
    const choose = element("select", { "data-part": "label", "aria-label": "Label of this image",
      change: () => this.label([image.id], choose.value === "" ? null : Number(choose.value)) },
    element("option", { value: "", selected: given === null }, "no label"),
    ...project.classes.map((each) => element("option", { value: each.id, selected: each.id === given }, each.name)));
    return element("p", { class: "row" }, element("b", {}, "Label"), choose, image.source && given !== null ? element("span", { class: "quiet" }, SOURCES[image.source] ?? image.source) : null);
  }

  #neighbors(near) {
    return element("ul", { class: "near" }, ...near.map((each) => element("li", {},
      element("button", { type: "button", class: "picture", "aria-label": `Nearest image, label ${project.nameOf(each.class)}, similarity ${each.cosine.toFixed(2)}`, click: () => this.show(each.id) },
        element("img", { src: thumbnail(each), alt: "", decoding: "async" })),
      element("small", {}, `${project.nameOf(each.class)} ${each.cosine.toFixed(2)}`))));
  }

  #history(history) {
    const rows = history.map((each) => element("li", {}, element("time", { class: "quiet", datetime: each.at }, when(each.at)), " ",
      `${each.kind}: ${project.nameOf(each.before)} → ${project.nameOf(each.after)}`));
    return element("ol", { class: "history", "aria-label": counted(rows.length, "change") }, ...rows);
  }
}

const SOURCES = { person: "given by a person", suggestion: "an accepted suggestion", folder: "from its folder", table: "from a table" };

function when(at) {
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toLocaleString([], { dateStyle: "short", timeStyle: "short" });
}
