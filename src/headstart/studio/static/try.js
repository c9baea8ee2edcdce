// New images and the camera, live: what the classifier says of images that it has never seen.

import { predict } from "./api.js";
import { Camera } from "./camera.js";
import { bars, byId, counted, element, percent } from "./dom.js";
import { announce, complain } from "./messages.js";
import { project } from "./project.js";

const AT_ONCE = 2; // requests; the network uses all cores for one
const KEPT = 60; // cards of the tray
const LIVE_SIDE = 384; // pixels
const TOP = 4;

export class TryView {
  constructor() {
    this.box = byId("view-try");
    this.camera = new Camera();
    this.waiting = [];
    this.busy = 0;
    this.#draw();
    project.on("project", () => this.#runs());
  }

  #draw() {
    const input = element("input", { type: "file", multiple: true, accept: "image/*", class: "file", "data-way": "try" });
    input.addEventListener("change", () => {
      this.take([...input.files].map((file) => ({ file, name: file.name })));
      input.value = "";
    });
    this.run = element("select", { "aria-label": "Classifier" }, element("option", { value: "live" }, "the live classifier"));
    this.toggle = element("button", { type: "button", click: () => this.#camera() }, "Start the camera");
    this.now = element("div", { class: "now" });
    this.rate = element("p", { class: "quiet" });
    this.live = element("section", { class: "live", hidden: true, "aria-label": "Camera" }, this.camera.video, element("div", {}, this.now, this.rate));
    this.tray = element("ul", { class: "tray", "aria-label": "Images that were tried" });
    this.box.append(
      element("section", {}, element("h2", {}, "Try new images"),
        element("p", { class: "quiet" }, "They are classified and not kept. Drop or paste them here, or use the camera."),
        element("div", { class: "row" }, element("label", { class: "choose" }, input, element("span", {}, "Choose images")), this.toggle, element("label", {}, "Ask ", this.run))),
      this.live, this.tray);
    addEventListener("paste", (event) => {
      if (this.box.hidden || !event.clipboardData?.files.length) return;
      this.take([...event.clipboardData.files].map((file) => ({ file, name: file.name || "pasted image" })));
    });
  }

  open() {
    this.#runs();
  }

  /** The view is left: the camera goes off. */
  leave() {
    if (this.camera.running) this.#stop();
  }

  #runs() {
    const runs = project.facts?.runs ?? [];
    const names = runs.map((run) => run.name).join("\n");
    if (names === this.names) return;
    this.names = names;
    const chosen = this.run.value;
    this.run.replaceChildren(element("option", { value: "live" }, "the live classifier"), ...runs.map((run) => element("option", { value: run.name }, `run ${run.name}`)));
    if ([...this.run.options].some((option) => option.value === chosen)) this.run.value = chosen;
  }

  take(files) {
    for (const { file, name } of files) {
      const url = URL.createObjectURL(file);
      const picture = element("img", { src: url, alt: "" });
      picture.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
      picture.addEventListener("error", () => picture.remove(), { once: true });
      const facts = element("div", { class: "facts-of-image" }, element("p", { class: "quiet" }, "…"));
      const card = element("li", {}, picture, facts);
      this.tray.prepend(card);
      this.waiting.push({ file, name, facts });
    }
    while (this.tray.children.length > KEPT) this.tray.lastChild.remove();
    this.#next();
  }

  async #next() {
    if (this.busy >= AT_ONCE || !this.waiting.length) return;
    this.busy += 1;
    const { file, name, facts } = this.waiting.shift();
    try {
      const answer = (await predict([{ file, name }], this.run.value)).images[0];
      facts.replaceChildren(...this.#said(answer, name));
      announce(answer.problem ? `${name}: ${answer.problem}` : `${name}: ${answer.top[0].name}, ${percent(answer.top[0].probability)}`);
    } catch (failure) {
      facts.replaceChildren(element("p", { class: "quiet" }, name), element("p", { class: "note" }, failure.message));
    }
    this.busy -= 1;
    this.#next();
    if (this.waiting.length) this.#next();
  }

  #said(answer, name) {
    if (answer.problem) return [element("p", { class: "quiet" }, name), element("p", { class: "note" }, answer.problem)];
    const made = [element("h3", {}, answer.top[0].name), name ? element("p", { class: "quiet" }, name) : null, bars(answer.top.slice(0, TOP))];
    if (answer.out_of_distribution) made.push(element("p", { class: "note" }, "None of these: the image is unlike all classes."));
    if (answer.prediction_set) {
      const classes = answer.prediction_set.length ? answer.prediction_set.join(", ") : "none";
      made.push(element("p", { class: "set quiet" }, answer.prediction_set.length > 1 ? "One of: " : "Prediction set: ", element("b", {}, classes)));
    }
    return made.filter(Boolean);
  }

  async #camera() {
    if (this.camera.running) return this.#stop();
    try {
      await this.camera.start();
    } catch (failure) {
      return complain(failure);
    }
    this.live.hidden = false;
    this.toggle.textContent = "Stop the camera";
    this.#loop();
    return undefined;
  }

  #stop() {
    this.camera.stop();
    this.live.hidden = true;
    this.toggle.textContent = "Start the camera";
    this.now.replaceChildren();
  }

  /** One prediction after the other, as fast as they come. */
  async #loop() {
    const times = [];
    while (this.camera.running) {
      try {
        const file = await this.camera.photograph(LIVE_SIDE);
        const answer = (await predict([{ file, name: "camera.jpg" }], this.run.value)).images[0];
        if (!this.camera.running) return;
        this.now.replaceChildren(...this.#said(answer, ""));
        times.push(performance.now());
        while (times.length > 12) times.shift();
        const span = (times[times.length - 1] - times[0]) / 1000;
        if (times.length > 2) this.rate.textContent = `${((times.length - 1) / span).toFixed(1)} predictions a second`;
      } catch (failure) {
        this.#stop();
        complain(failure);
      }
    }
  }

  /** For a message: how many images are still to be classified. */
  get left() {
    return counted(this.waiting.length, "image");
  }
}
