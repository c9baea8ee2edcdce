// What leaves the studio: trained classifiers as files, their reports, and the labels.

import { post } from "./api.js";
import { byId, element, megabytes, percent } from "./dom.js";
import { attempt } from "./messages.js";
import { project } from "./project.js";

const FORMATS = { onnx: "ONNX", openvino: "OpenVINO", torch: "PyTorch (torch.export)", html: "one HTML file that runs in a browser" };

export class HandOverView {
  constructor(learning) {
    this.box = byId("view-hand-over");
    this.learning = learning;
    project.on("project", () => this.open());
    project.on("job-shown", () => this.open());
  }

  open() {
    if (this.box.hidden || !project.facts) return;
    const { runs = [], exports = [], formats = Object.keys(FORMATS), counts } = project.facts;
    const job = this.learning.job;
    const state = JSON.stringify([runs, exports, formats, counts, job?.state]);
    if (state === this.drawn) return;
    this.drawn = state;
    this.box.replaceChildren(this.#labels(counts), this.#runs(runs, formats, job), this.#exports(exports));
  }

  #labels(counts) {
    return element("section", {}, element("h2", {}, "Labels"),
      element("p", { class: "quiet" }, "A table with one row per labeled image, which every tool reads. ", element("code", {}, `headstart fit ${project.facts.folder}`), " trains on this project from the command line."),
      element("p", {}, element("a", { class: "button", href: "/api/labels.csv", download: "labels.csv" }, `Download labels.csv (${counts.labeled})`)));
  }

  #runs(runs, formats, job) {
    const busy = job !== null && job !== undefined && !["done", "failed", "stopped"].includes(job.state);
    if (!runs.length) {
      return element("section", {}, element("h2", {}, "Trained classifiers"), element("p", { class: "quiet" }, "There is none yet. The live classifier helps while you label; training searches how deep to train, calibrates and writes a report."),
        element("p", {}, element("a", { class: "button", href: "#label" }, "Train under Accuracy")));
    }
    const row = (run) => {
      const at = `/api/runs/${encodeURIComponent(run.name)}`;
      const format = element("select", { "aria-label": `Format for ${run.name}` }, ...formats.map((name) => element("option", { value: name }, FORMATS[name] ?? name)));
      const accuracy = run.accuracy;
      return element("li", {},
        element("div", {}, element("h3", {}, run.name), accuracy ? element("p", { class: "quiet" }, `${percent(accuracy.value)} accuracy on held-out images (${percent(accuracy.low)} to ${percent(accuracy.high)})`) : null),
        element("div", { class: "row" }, run.report === false ? null : element("a", { class: "button", href: `${at}/report`, target: "_blank" }, "Report"),
          element("a", { class: "button", href: `${at}.zip`, download: `${run.name}.zip` }, "Run folder as zip"), format,
          element("button", { type: "button", class: "primary", disabled: busy, click: () => this.#export(run.name, format.value) }, "Export")));
    };
    return element("section", {}, element("h2", {}, "Trained classifiers"), element("ul", { class: "runs" }, ...runs.map(row)));
  }

  async #export(run, format) {
    const job = await attempt(() => post("/api/exports", { run, format }));
    if (job) this.learning.heard(job);
  }

  #exports(exports) {
    if (!exports.length) return element("section", {}, element("h2", {}, "Exports"), element("p", { class: "quiet" }, "An export is run on images of this project and kept only if it gives the same answers."));
    return element("section", {}, element("h2", {}, "Exports"), element("ul", { class: "runs" }, ...exports.map((each) => element("li", {},
      element("div", {}, element("h3", {}, each.file), element("p", { class: "quiet" }, [FORMATS[each.format] ?? each.format, each.run && `run ${each.run}`, each.bytes && megabytes(each.bytes)].filter(Boolean).join(" · "))),
      element("div", { class: "row" }, element("a", { class: "button", href: `/api/exports/${encodeURIComponent(each.file)}`, download: each.file }, "Download"))))));
  }
}
