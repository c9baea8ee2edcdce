// What the classifier gets wrong, from cross-fitted predictions; everything leads to its images.

import { get, thumbnail } from "./api.js";
import { bar, byId, counted, element, grouped, percent } from "./dom.js";
import { project } from "./project.js";

const SHOWN = 24; // images of a list
const MOST_CLASSES = 40; // of the matrix; beyond that only classes with errors
const HALF = 4; // images that half of the width has room for
const SIDE_BY_SIDE = 9; // classes whose matrix and table stand beside each other
const PLOT = 260;

export class UnderstandView {
  constructor() {
    this.box = byId("view-understand");
    project.on("evaluation", () => this.open());
    project.on("learning", () => this.open());
    project.on("project", () => this.open());
  }

  async open() {
    if (this.box.hidden) return;
    const asked = (this.asked = (this.asked ?? 0) + 1);
    const learning = project.facts?.learning;
    let found = { message: learning?.message };
    if (learning?.revision) { // something was learned
      try {
        found = await get("/api/evaluation");
      } catch (failure) {
        found = { message: failure.message };
      }
    }
    if (asked !== this.asked) return;
    const state = JSON.stringify([found, project.classes.map((each) => each.name)]);
    if (state === this.drawn) return;
    this.drawn = state;
    if (!found.confusion?.length) this.#none(found.message);
    else this.#draw(found);
  }

  #none(message) {
    this.box.replaceChildren(element("section", { class: "nothing" }, element("h2", {}, "Nothing to understand yet"),
      element("p", {}, message || project.facts?.learning?.message || "Label some images of two classes: what the classifier gets wrong is shown here.")));
  }

  #draw(found) {
    const focused = document.activeElement?.dataset?.go;
    const parts = [this.#lead(found), this.#images("Likely wrong labels", found.wrong, "wrong", (each) => `${project.nameOf(each.given)} → ${project.nameOf(each.likelier)}`,
      "The classifier, which did not see these labels, finds another class far likelier. Open them to mend what is wrong."),
    this.#images("Worst errors", found.errors, "errors", (each) => `${project.nameOf(each.given)} → ${project.nameOf(each.predicted)}`,
      "Labeled images to which the classifier gives another class, the surest first."),
    this.#confusion(found), this.#classes(found), this.#reliability(found)];
    this.box.replaceChildren(...parts.filter(Boolean));
    if (focused) this.box.querySelector(`[data-go="${focused}"]`)?.focus();
  }

  #lead({ accuracy, images }) {
    return element("section", { class: "wide" }, element("h2", {}, accuracy ? `${percent(accuracy.value)} of labeled images are classified correctly` : "Evaluation"),
      element("p", { class: "quiet" }, accuracy ? `95 % interval ${percent(accuracy.low)} to ${percent(accuracy.high)}, ${counted(images, "image")}. ` : "",
        "Cross-fitted: each image is judged by a classifier that did not see its label."));
  }

  #go(show, attributes, ...children) {
    return element("a", { href: `#label/${show}`, "data-go": show, ...attributes }, ...children);
  }

  #images(title, list, show, caption, text) {
    if (!list?.length) return null;
    return element("section", { class: list.length > HALF ? "wide" : "" }, element("h2", {}, title, " ", element("small", {}, grouped(list.length))), element("p", { class: "quiet" }, text),
      element("ul", { class: "strip-of-images" }, ...list.slice(0, SHOWN).map((each) => element("li", {},
        this.#go(show, { "data-go": `${show}-${each.id}`, "aria-label": `${caption(each)}, show all` }, element("img", { src: thumbnail(each), alt: "", loading: "lazy", decoding: "async" })),
        element("small", {}, caption(each), " ", percent(each.probability, 0))))),
      element("p", {}, this.#go(show, { class: "button" }, `Show and mend ${list.length === 1 ? "it" : `all ${grouped(list.length)}`}`)));
  }

  #confusion({ classes, confusion }) {
    const wrong = (at) => confusion[at].reduce((sum, value, other) => sum + (other === at ? 0 : value), 0) + confusion.reduce((sum, row, other) => sum + (other === at ? 0 : row[at]), 0);
    let rows = classes.map((_, at) => at);
    if (rows.length > MOST_CLASSES) rows = rows.sort((one, other) => wrong(other) - wrong(one)).slice(0, MOST_CLASSES).sort((one, other) => one - other);
    const most = (at) => Math.max(1, confusion[at].reduce((sum, value) => sum + value, 0));
    const cell = (given, predicted) => {
      const count = confusion[given][predicted];
      if (!count) return element("td", {});
      const strength = Math.min(4, Math.ceil((4 * count) / most(given)));
      const says = `${counted(count, "image")} labeled ${classes[given].name}, predicted ${classes[predicted].name}`;
      return element("td", { class: `${given === predicted ? "right" : "wrong"} s${strength}` }, this.#go(`cell:${classes[given].id}:${classes[predicted].id}`, { "aria-label": says, title: says }, grouped(count)));
    };
    return element("section", { class: rows.length > SIDE_BY_SIDE ? "wide" : "" }, element("h2", { id: "confusion-title" }, "Confusion"),
      element("p", { class: "quiet" }, `Rows are labels, columns what the classifier says.${rows.length < classes.length ? ` The ${rows.length} classes with most errors of ${classes.length}.` : ""} A number leads to its images.`),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "confusion-title" }, element("table", { class: "matrix" },
        element("thead", {}, element("tr", {}, element("td", {}), ...rows.map((at) => element("th", { scope: "col" }, element("span", {}, classes[at].name))))),
        element("tbody", {}, ...rows.map((given) => element("tr", {}, element("th", { scope: "row" }, classes[given].name), ...rows.map((predicted) => cell(given, predicted))))))));
  }

  #classes({ classes }) {
    return element("section", { class: classes.length > SIDE_BY_SIDE ? "wide" : "" }, element("h2", { id: "per-class-title" }, "Classes"),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "per-class-title" }, element("table", { class: "per-class" },
        element("thead", {}, element("tr", {}, ...["Class", "Labels", "Recall", "", "Precision", ""].map((text) => (text ? element("th", { scope: "col" }, text) : element("td", {}))))),
        element("tbody", {}, ...classes.map((each) => element("tr", {}, element("th", { scope: "row" }, this.#go(`class:${each.id}`, {}, each.name)), element("td", {}, grouped(each.count)),
          element("td", {}, percent(each.recall?.value)), element("td", {}, bar(each.recall?.value ?? 0)), element("td", {}, percent(each.precision)), element("td", {}, bar(each.precision ?? 0))))))));
  }

  #reliability({ bins }) {
    const filled = (bins ?? []).map((each, at) => ({ ...each, at })).filter((each) => each.count > 0);
    if (!filled.length) return null;
    const most = Math.max(...filled.map((each) => each.count));
    const place = (share) => (PLOT * share).toFixed(1);
    const plot = element("svg", { class: "reliability-plot", viewBox: `-4 -4 ${PLOT + 8} ${PLOT + 8}`, role: "img", "aria-label": "Accuracy over probability; the figures are in the table" },
      element("line", { class: "rule", x1: 0, y1: PLOT, x2: PLOT, y2: 0 }), element("rect", { class: "frame", width: PLOT, height: PLOT }),
      ...filled.flatMap((each) => [
        element("line", { class: "gap", x1: place(each.confidence), x2: place(each.confidence), y1: place(1 - each.confidence), y2: place(1 - each.accuracy) }),
        element("circle", { class: "point", cx: place(each.confidence), cy: place(1 - each.accuracy), r: (3 + 5 * Math.sqrt(each.count / most)).toFixed(1) })]));
    return element("section", { class: "wide" }, element("h2", {}, "Are the probabilities right?"),
      element("p", { class: "quiet" }, "On the diagonal, of images with 80 % probability 8 of 10 are right. Each row leads to its images."),
      element("div", { class: "two" }, plot, element("table", {}, element("thead", {}, element("tr", {}, ...["Probability", "Images", "Right"].map((text) => element("th", { scope: "col" }, text)))),
        element("tbody", {}, ...filled.map((each) => element("tr", {}, element("th", { scope: "row" }, this.#go(`bin:${each.at}`, {}, `${percent(each.low, 0)} to ${percent(each.high, 0)}`)),
          element("td", {}, grouped(each.count)), element("td", {}, percent(each.accuracy))))))));
  }
}
