// Cards of the classes: label the selection, show the images of a class, rename, merge, remove, take dropped images.

import { patch, post, remove } from "./api.js";
import { byId, counted, element, grouped } from "./dom.js";
import { attempt, say } from "./messages.js";
import { project } from "./project.js";

export const DRAGGED = "application/x-headstart-images";

export class ClassCards {
  /** `selection()` are the ids that a click labels; `act` is {label(ids, class), show(class)}. */
  constructor(selection, act) {
    this.selection = selection;
    this.act = act;
    this.box = byId("classes");
    this.shown = null; // the class whose images are shown
    project.on("project", () => this.draw());
    byId("new-class").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add(event.target);
    });
  }

  async #add(form) {
    const name = form.elements.name.value.trim();
    if (!name) return;
    form.reset(); // at once: the next name may be typed before the answer is there
    const made = await attempt(async () => {
      await project.changed(await post("/api/classes", { name }));
      return true;
    });
    if (made) say(`Class ${name} added`);
    else if (!form.elements.name.value) form.elements.name.value = name;
  }

  /** Draw the cards again where something has changed; focus stays where it was. */
  draw() {
    const { classes } = project;
    const number = this.selection().length;
    const state = JSON.stringify([classes, number, this.shown]);
    if (state === this.state) return;
    this.state = state;
    const focused = document.activeElement?.closest?.("[data-class]")?.dataset.class;
    const place = document.activeElement?.dataset?.part;
    const most = Math.max(1, ...classes.map((each) => each.count));
    this.box.replaceChildren(...classes.map((each, at) => this.#card(each, at, number, most)));
    if (!classes.length) {
      this.box.append(element("li", { class: "quiet" }, "Add the first two classes, or bring images in one folder per class."));
    }
    if (focused) this.box.querySelector(`[data-class="${focused}"] [data-part="${place}"]`)?.focus();
  }

  #card(each, at, number, most) {
    const key = at < 9 ? String(at + 1) : null;
    const says = number ? `Label ${counted(number, "image")} as ${each.name}` : `Show ${counted(each.count, "image")} of ${each.name}`;
    const go = element("button", {
      type: "button", class: "class-go", "data-part": "go", "aria-label": key ? `${says} (key ${key})` : says, title: says,
      "aria-keyshortcuts": key, "aria-pressed": String(this.shown === each.id),
      click: () => (this.selection().length ? this.act.label(this.selection(), each.id) : this.act.show(each.id)),
    }, element("kbd", {}, key ?? ""), element("span", { class: "class-name" }, each.name), element("span", { class: "class-count" }, grouped(each.count)),
    element("svg", { class: "class-share", viewBox: "0 0 100 2", preserveAspectRatio: "none", "aria-hidden": "true" },
      element("rect", { width: ((100 * each.count) / most).toFixed(1), height: 2 })));
    const more = element("button", {
      type: "button", class: "icon", "data-part": "more", "aria-label": `Rename, merge or remove ${each.name}`, "aria-haspopup": "dialog",
      click: () => this.#edit(each),
    }, "⋯");
    const card = element("li", { class: `class-card${number ? " takes" : ""}`, "data-class": each.id }, go, more);
    card.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes(DRAGGED)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      card.classList.add("over");
    });
    card.addEventListener("dragleave", () => card.classList.remove("over"));
    card.addEventListener("drop", (event) => {
      card.classList.remove("over");
      if (!event.dataTransfer.types.includes(DRAGGED)) return;
      event.preventDefault();
      event.stopPropagation();
      this.act.label(JSON.parse(event.dataTransfer.getData(DRAGGED)), each.id);
    });
    return card;
  }

  #edit(each) {
    const others = project.classes.filter((other) => other.id !== each.id);
    const name = element("input", { name: "name", value: each.name, maxlength: 200, required: true, autocomplete: "off" });
    const into = element("select", { name: "into" }, ...others.map((other) => element("option", { value: other.id }, other.name)));
    const done = (task, text) => attempt(async () => {
      await project.changed(await task());
      dialog.close();
      say(text(), { text: "Undo", act: () => attempt(() => project.undo()) });
      project.tell("images");
    });
    const dialog = element("dialog", { "aria-labelledby": "edit-title", close: () => dialog.remove() },
      element("h2", { id: "edit-title" }, each.name),
      element("form", { class: "row", submit: (event) => {
        event.preventDefault();
        done(() => patch(`/api/classes/${each.id}`, { name: name.value }), () => `${each.name} is now called ${name.value.trim()}`);
      } }, element("label", {}, "Name", name), element("button", { type: "submit" }, "Rename")),
      others.length ? element("form", { class: "row", submit: (event) => {
        event.preventDefault();
        const other = others.find((one) => String(one.id) === into.value);
        done(() => post(`/api/classes/${each.id}/merge`, { into: other.id }), () => `${each.name} was merged into ${other.name}`);
      } }, element("label", {}, "Merge into", into), element("button", { type: "submit" }, "Merge")) : null,
      element("div", { class: "row end" },
        element("button", { type: "button", class: "danger", click: () => done(() => remove(`/api/classes/${each.id}`), () => `Class ${each.name} was removed`) },
          each.count ? `Remove, and the label of ${counted(each.count, "image")}` : "Remove"),
        element("button", { type: "button", click: () => dialog.close() }, "Close")));
    document.body.append(dialog);
    dialog.showModal();
    name.select();
  }
}
