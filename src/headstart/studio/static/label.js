// The view in which images are labeled: filters, the grid, suggestions, and the keys for all of it.

import { post } from "./api.js";
import { ClassCards, DRAGGED } from "./classes.js";
import { Detail } from "./detail.js";
import { byId, counted, element, grouped, takesKeys } from "./dom.js";
import { Grid } from "./grid.js";
import { ImageList } from "./list.js";
import { announce, attempt, complain, say } from "./messages.js";
import { project } from "./project.js";

const SORTED_BY_CLASSIFIER = new Set(["suggested", "uncertainty"]);
const EMPTY = {
  unlabeled: "Every image has a label.", labeled: "No image has a label yet.", problems: "No problem was found.", all: "There are no images yet.",
};

/** After a choice by pointer the keys are those of the grid again; who chooses by keys stays, to choose on. */
function backAfterPointer(select) {
  let keys = false;
  select.addEventListener("pointerdown", () => { keys = false; });
  select.addEventListener("keydown", () => { keys = true; });
  select.addEventListener("change", () => { if (!keys) byId("grid").focus(); });
}

export class LabelView {
  constructor() {
    this.list = new ImageList();
    this.grid = new Grid(byId("grid"), this.list, (image) => this.describe(image));
    this.show = null;
    this.least = 0; // probability from which suggestions are shown
    this.classes = new ClassCards(() => [...this.grid.selected], {
      label: (ids, id) => this.label(ids, id),
      show: (id) => this.go(`class:${id}`),
    });
    this.detail = new Detail(byId("detail"), (ids, id) => this.label(ids, id), (image) => this.closed(image));
    this.#listen();
    this.#controls();
  }

  #listen() {
    this.grid.addEventListener("select", () => {
      this.classes.draw();
      this.drawActions();
      const [id] = this.grid.selected;
      if (this.detail.open && this.grid.selected.size === 1) this.detail.show(id);
    });
    this.grid.addEventListener("open", (event) => this.detail.show(event.detail.id));
    this.grid.addEventListener("range", () => this.drawActions());
    this.list.addEventListener("reset", () => {
      this.grid.empty.textContent = this.emptyText();
      this.stale(false);
      this.drawFilters();
      this.drawActions();
    });
    for (const kind of ["resized", "filled"]) this.list.addEventListener(kind, () => this.drawActions());
    project.on("project", () => {
      this.drawFilters();
      this.grid.redraw();
      byId("welcome").hidden = project.facts.counts.images > 0;
    });
    project.on("images", () => this.list.reload(this.grid.firstIndex));
    project.on("learning", (state) => this.learned(state));
    byId("grid").addEventListener("dragstart", (event) => this.#drag(event));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #controls() {
    byId("order").addEventListener("change", (event) => this.open(this.show, event.target.value));
    backAfterPointer(byId("order"));
    byId("size").addEventListener("input", (event) => this.grid.resize(Number(event.target.value)));
    byId("sort-again").addEventListener("click", () => this.sortAgain());
  }

  /** Go to the images of a query by the address, so that the browser's back button leads here again. */
  go(show) {
    location.hash = `label/${show}`;
  }

  /** Show the images of a query. */
  async open(show, order = null) {
    const changed = show !== this.show;
    const previous = this.show;
    this.show = show;
    const select = byId("order");
    if (order === null && changed) {
      if (show === "unlabeled") select.value = "suggested";
      else if (previous === null || previous === "unlabeled") select.value = "added";
    }
    // What is listed by how wrong it looks keeps that order.
    const ranked = /^(errors|wrong|cell:|bin:)/.test(show);
    select.disabled = ranked;
    for (const option of select.options) option.hidden = SORTED_BY_CLASSIFIER.has(option.value) && show !== "unlabeled" && show !== "all";
    if (changed || order !== null) {
      this.grid.selected = new Set();
      this.grid.toTop();
    }
    this.classes.shown = show.startsWith("class:") ? Number(show.slice(6)) : null;
    this.classes.draw();
    byId("grid").setAttribute("aria-busy", "true"); // the images of the query before are still there
    await this.list.open({ show, order: ranked ? "suggested" : select.value });
    if (!this.list.reading) byId("grid").removeAttribute("aria-busy");
  }

  emptyText() {
    if (this.show in EMPTY) return EMPTY[this.show];
    return this.show === "wrong" || this.show === "errors" ? "None was found." : "There are no such images.";
  }

  describe(image) {
    if (image.problem) return { kind: "problem", text: image.problem, label: `${image.name}, problem: ${image.problem}` };
    if (image.class !== null && image.class !== undefined) {
      const name = project.nameOf(image.class);
      const other = image.suggestion && image.suggestion.class !== image.class && this.show !== "labeled" ? image.suggestion : null;
      if (other) {
        const likelier = project.nameOf(other.class);
        return { kind: "labeled doubted", text: `${name} → ${likelier}`, probability: other.probability,
          label: `${image.name}, label ${name}, the classifier says ${likelier}` };
      }
      return { kind: "labeled", text: name, label: `${image.name}, label ${name}` };
    }
    const suggestion = this.suggestionOf(image);
    if (suggestion) {
      const name = project.nameOf(suggestion.class);
      return { kind: "suggested", text: name, probability: suggestion.probability,
        label: `${image.name}, suggestion ${name}, ${Math.round(100 * suggestion.probability)} percent` };
    }
    return { kind: "plain", text: "", label: `${image.name}, no label` };
  }

  suggestionOf(image) {
    const suggestion = image.suggestion ?? null;
    return suggestion && suggestion.probability >= this.least && project.classOf(suggestion.class) ? suggestion : null;
  }

  // --- filters and actions

  drawFilters() {
    const counts = project.facts?.counts;
    if (!counts) return;
    const shown = [["unlabeled", "Unlabeled", counts.unlabeled], ["labeled", "Labeled", counts.labeled], ["all", "All", counts.images], ["problems", "Problems", counts.problems]];
    const made = shown.map(([show, name, count]) => element("button", {
      type: "button", "data-show": show, "aria-pressed": String(this.show === show), click: () => this.go(show),
    }, name, element("span", {}, grouped(count))));
    if (this.show && !shown.some(([show]) => show === this.show)) {
      made.push(element("button", { type: "button", class: "chip", "aria-pressed": "true", "aria-label": `${this.title()}, close`, click: () => this.go("unlabeled") },
        this.title(), element("span", {}, grouped(this.list.total)), element("span", { "aria-hidden": "true" }, "×")));
    }
    const state = made.map((each) => each.outerHTML).join();
    if (state === this.filters) return;
    this.filters = state;
    const focused = [...byId("filters").children].indexOf(document.activeElement);
    byId("filters").replaceChildren(...made);
    byId("filters").children[focused]?.focus();
  }

  title() {
    const [kind, first, second] = this.show.split(":");
    if (kind === "class") return project.nameOf(Number(first));
    if (kind === "cell") return `labeled ${project.nameOf(Number(first))}, predicted ${project.nameOf(Number(second))}`;
    if (kind === "bin") return `probability bin ${Number(first) + 1}`;
    return kind === "wrong" ? "likely wrong labels" : "errors";
  }

  /** The suggestions that the accept key takes: of the selection, or of what is in sight. */
  acceptable() {
    const rows = this.grid.selected.size ? this.list.rows.filter((row) => row && this.grid.selected.has(row.id)) : this.grid.inSight();
    return rows.filter((row) => !row.problem && this.suggestionOf(row) && row.suggestion.class !== row.class);
  }

  drawActions() {
    const number = this.grid.selected.size;
    const acceptable = this.acceptable();
    const state = `${number} ${acceptable.length} ${this.least} ${this.list.total > 0} ${project.facts?.learning?.labels > 0}`;
    if (state === this.actions) return;
    this.actions = state;
    const box = byId("actions");
    const focused = document.activeElement?.dataset?.action;
    const button = (action, text, key, act, options = {}) => element("button", { type: "button", "data-action": action, click: act, "aria-keyshortcuts": key, ...options }, text, element("kbd", {}, key));
    const what = number ? counted(acceptable.length, "selected suggestion") : `${counted(acceptable.length, "suggestion")} in sight`;
    box.replaceChildren(
      button("accept", `Accept ${what}`, "A", () => this.accept(), { class: "primary", disabled: acceptable.length === 0 }),
      button("reject", "Reject", "X", () => this.reject(), { disabled: number === 0 || acceptable.length === 0 }),
      button("unlabel", "Remove label", "0", () => this.label(this.grid.chosen(), null), { disabled: number === 0 }),
      element("span", { class: "chosen" }, number ? `${grouped(number)} selected` : ""),
      element("label", { class: "least" }, "Suggestions from ",
        element("select", { "data-action": "least", change: (event) => { this.least = Number(event.target.value); this.grid.redraw(); this.drawActions(); } },
          ...[[0, "any probability"], [0.5, "50 %"], [0.8, "80 %"], [0.9, "90 %"], [0.95, "95 %"], [0.99, "99 %"]].map(([value, text]) =>
            element("option", { value, selected: value === this.least }, text)))));
    if (focused) box.querySelector(`[data-action="${focused}"]`)?.focus();
  }

  // --- what changes labels

  /** Label images; in the unlabeled tray they leave, and the next one is under the keys. */
  async label(ids, classId) {
    if (!ids.length) return complain("select images first");
    const one = ids.length === 1;
    const done = await attempt(async () => {
      await project.label(ids, classId);
      return true;
    });
    if (!done) return undefined;
    this.applied(new Map(ids.map((id) => [id, classId])), "person");
    if (this.show !== "unlabeled" && one && this.grid.selected.size <= 1 && !this.detail.open) {
      this.grid.moveTo(this.grid.active + 1);
    }
    if (this.detail.open) this.detail.refresh();
    return undefined;
  }

  /** The server has set these labels: show it without asking again. */
  applied(labels, source) {
    const ids = new Set(labels.keys());
    const leaves = (id) => {
      const given = labels.get(id);
      if (this.show === "unlabeled") return given !== null;
      if (this.show === "labeled") return given === null;
      if (this.show.startsWith("class:")) return given !== Number(this.show.slice(6));
      return /^(wrong|errors|cell:|bin:)/.test(this.show);
    };
    const gone = new Set([...ids].filter(leaves));
    this.list.change(ids, (row) => {
      row.class = labels.get(row.id);
      row.source = source;
      if (row.class !== null) row.suggestion = null;
    });
    if (gone.size) {
      this.grid.select([...this.grid.selected].filter((id) => !gone.has(id)));
      this.list.take(gone);
    }
    this.grid.redraw();
    this.drawFilters();
  }

  async accept() {
    const rows = this.acceptable();
    if (!rows.length) return say("There is no suggestion in sight to accept");
    const labels = Object.fromEntries(rows.map((row) => [row.id, row.suggestion.class]));
    const answer = await attempt(() => post("/api/accept", { labels }));
    if (!answer) return undefined;
    project.changed(answer).catch(complain);
    this.applied(new Map(rows.map((row) => [row.id, row.suggestion.class])), "suggestion");
    say(`${counted(rows.length, "suggestion")} accepted`, { text: "Undo", act: () => attempt(() => project.undo()) });
    return undefined;
  }

  async reject() {
    const rows = this.acceptable();
    if (!this.grid.selected.size || !rows.length) return say("Select the images whose suggestion is wrong");
    const labels = Object.fromEntries(rows.map((row) => [row.id, row.suggestion.class]));
    const answer = await attempt(() => post("/api/reject", { labels }));
    if (!answer) return undefined;
    project.changed(answer).catch(complain);
    this.list.change(new Set(rows.map((row) => row.id)), (row) => { row.suggestion = null; });
    this.grid.select([]);
    this.grid.redraw();
    say(`${counted(rows.length, "suggestion")} rejected`, { text: "Undo", act: () => attempt(() => project.undo()) });
    return undefined;
  }

  /** The head was solved again: suggestions in sight are brought up to date, but no image moves under one's hand. */
  learned(state) {
    const solved = `${state?.revision} ${state?.suggested} ${state?.images_with_features} ${state?.seconds}`;
    if (!state || solved === this.solved || byId("view-label").hidden) return;
    this.solved = solved;
    this.list.renew(this.grid.inSight().map((row) => row.id));
    const sorted = SORTED_BY_CLASSIFIER.has(this.list.query.order);
    if (!sorted || this.list.total === 0) return;
    if (this.grid.box.scrollTop === 0 && this.grid.selected.size === 0 && !this.grid.box.matches(":hover, :focus-within")) this.sortAgain();
    else this.stale(true);
  }

  /** Whether the classifier has learned since the images were sorted. */
  stale(is) {
    const button = byId("sort-again");
    button.classList.toggle("stale", is);
    button.title = is ? "The classifier has learned since these images were sorted (R)" : "Sort again (R)";
  }

  async sortAgain() {
    this.grid.toTop();
    this.grid.select([]);
    await this.list.reload(0);
    announce("Sorted again");
  }

  closed(image) {
    const at = image ? this.list.indexOf(image.id) : -1;
    if (at >= 0) this.grid.moveTo(at);
    byId("grid").focus();
  }

  // --- dragging and keys

  #drag(event) {
    const image = this.grid.imageAt(event.target);
    if (!image) return event.preventDefault();
    if (!this.grid.selected.has(image.id)) this.grid.select([image.id]);
    const ids = [...this.grid.selected];
    event.dataTransfer.setData(DRAGGED, JSON.stringify(ids));
    event.dataTransfer.effectAllowed = "copy";
    const ghost = element("div", { class: "ghost" }, counted(ids.length, "image"));
    document.body.append(ghost);
    event.dataTransfer.setDragImage(ghost, -8, -8);
    setTimeout(() => ghost.remove());
    return undefined;
  }

  #key(event) {
    if (byId("view-label").hidden || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || takesKeys(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const act = this.#actOf(event.key);
    if (!act) return;
    event.preventDefault();
    act();
  }

  #actOf(key) {
    const chosen = () => (this.detail.open ? [this.detail.id] : this.grid.chosen());
    if (/^[1-9]$/.test(key)) {
      const given = project.classes[Number(key) - 1];
      return () => (given ? this.label(chosen(), given.id) : complain(`there is no class ${key} yet: add it at the left`));
    }
    const acts = {
      0: () => this.label(chosen(), null),
      a: () => this.accept(), x: () => this.reject(), Delete: () => this.reject(), Backspace: () => this.reject(),
      r: () => this.sortAgain(),
      i: () => { const image = this.list.rows[this.grid.active]; if (image) this.detail.show(image.id); },
      n: () => byId("new-class").elements.name.focus(),
      "+": () => this.#zoom(16), "-": () => this.#zoom(-16),
      Escape: () => (this.detail.open ? this.detail.close() : this.grid.select([])),
    };
    return acts[key.length === 1 ? key.toLowerCase() : key];
  }

  #zoom(step) {
    const size = byId("size");
    size.value = Number(size.value) + step;
    this.grid.resize(Number(size.value));
  }
}
