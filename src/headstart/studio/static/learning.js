// The classifier learns: its accuracy with interval over the number of labels, and training with a budget.

import { get, post } from "./api.js";
import { bar, byId, counted, element, grouped, percent, seconds } from "./dom.js";
import { attempt, complain, say } from "./messages.js";
import { project } from "./project.js";

const WIDTH = 260;
const HEIGHT = 132;
const LEFT = 30;
const BOTTOM = 18;
const ENDED = new Set(["done", "failed", "stopped"]);

export class Learning {
  constructor() {
    this.job = null;
    project.on("learning", (state) => this.draw(state));
    project.on("job", (job) => this.heard(job));
    byId("fit").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start("/api/fit", { budget: byId("fit").elements.budget.value });
    });
  }

  /** What runs already when the page opens; there are no jobs before the network is loaded. */
  async #begin() {
    this.begun = true;
    const answer = await attempt(() => get("/api/jobs"));
    const running = answer?.jobs.find((job) => !ENDED.has(job.state));
    if (running) this.heard(running);
  }

  async #start(path, settings) {
    const job = await attempt(() => post(path, settings));
    if (job) this.heard(job);
  }

  draw(state) {
    if (!state) return;
    const open = !["opening", "failed"].includes(state.phase);
    if (open && !this.begun) this.#begin();
    const now = byId("learning-now");
    const accuracy = state.accuracy;
    const doing = this.#doing(state);
    now.replaceChildren(...(accuracy ? [element("b", {}, percent(accuracy.value)), " accuracy"] : [doing || "no classifier yet"]));
    now.classList.toggle("busy", Boolean(doing));
    const box = byId("accuracy");
    if (accuracy) {
      box.replaceChildren(
        element("p", { class: "numeral" }, (100 * accuracy.value).toFixed(1), element("small", {}, "\u202f%")),
        element("p", { class: "quiet" }, `${percent(accuracy.low)} to ${percent(accuracy.high)} (95 % interval), ${counted(state.labels, "label")}${state.judged < state.labels ? `, ${grouped(state.judged)} of them judged` : ""}`),
        element("p", { class: "quiet doing" }, doing || (state.seconds ? `learned in ${state.seconds.toFixed(1)} s` : "")),
        state.message ? element("p", { class: "note" }, state.message) : "");
    } else {
      box.replaceChildren(element("p", { class: state.phase === "failed" ? "note" : "quiet" }, sentence(state.message || "label some images of two classes")), element("p", { class: "quiet doing" }, open ? doing : ""));
    }
    this.#curve(state.curve ?? []);
    byId("fit").querySelector("button").disabled = !open || (this.job !== null && !ENDED.has(this.job.state));
  }

  #doing(state) {
    if (state.phase === "opening") return "loading the network …";
    if (state.phase === "features") return `computing features, ${grouped(state.images_with_features ?? 0)} of ${grouped(state.images_total ?? 0)}`;
    return state.phase === "solving" ? "learning …" : "";
  }

  #curve(curve) {
    const box = byId("curve");
    const state = JSON.stringify(curve);
    if (state === this.drawn) return;
    this.drawn = state;
    if (curve.length < 2) return box.replaceChildren();
    const points = [...curve].sort((one, other) => one.labels - other.labels);
    const last = points[points.length - 1];
    const [least, most] = [points[0].labels, last.labels];
    const floor = Math.max(0, Math.floor(10 * Math.min(...points.map((each) => each.low))) / 10);
    const x = (labels) => LEFT + ((WIDTH - LEFT - 8) * (labels - least)) / Math.max(1, most - least);
    const y = (share) => 8 + ((HEIGHT - BOTTOM - 8) * (1 - share)) / Math.max(0.1, 1 - floor);
    const line = (name) => points.map((each) => `${x(each.labels).toFixed(1)},${y(each[name]).toFixed(1)}`);
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": this.#said(points) });
    for (const share of [floor, (1 + floor) / 2, 1]) {
      svg.append(element("line", { class: "rule", x1: LEFT, x2: WIDTH - 8, y1: y(share), y2: y(share) }),
        element("text", { x: LEFT - 5, y: y(share) + 3.5, "text-anchor": "end" }, `${Math.round(100 * share)}`));
    }
    svg.append(
      element("path", { class: "band", d: `M${line("high").join("L")}L${line("low").reverse().join("L")}Z` }),
      element("path", { class: "line", d: `M${line("accuracy").join("L")}` }),
      element("circle", { class: "end", cx: x(most), cy: y(last.accuracy), r: 3 }),
      element("text", { x: LEFT, y: HEIGHT - 4 }, grouped(least)),
      element("text", { x: (LEFT + WIDTH - 8) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "labels"),
      element("text", { x: WIDTH - 8, y: HEIGHT - 4, "text-anchor": "end" }, grouped(most)));
    return box.replaceChildren(svg);
  }

  #said(points) {
    const last = points[points.length - 1];
    return `Accuracy over the number of labels: ${percent(points[0].accuracy)} with ${points[0].labels}, ${percent(last.accuracy)} with ${last.labels} labels`;
  }

  /** Training or an export, as it goes on. */
  heard(job) {
    if (!job) return;
    const ended = ENDED.has(job.state);
    const before = this.job;
    this.job = job;
    byId("fit").querySelector("button").disabled = !ended;
    project.tell("job-shown", job);
    const news = ended && before?.id === job.id && !ENDED.has(before.state);
    if (news && job.state === "failed") complain(job.message || "the work failed, and the studio does not say why");
    if (news && job.state === "done") say(job.kind === "fit" ? "Training is complete" : "The export is written", { text: "Show", act: () => { location.hash = "hand-over"; } });
    if (news && job.state === "stopped") say("Stopped");
    if (ended) project.refresh().catch(complain);
    const box = byId("job");
    const stopping = box.contains(document.activeElement);
    box.hidden = false;
    box.replaceChildren(...jobLines(job));
    if (stopping) box.querySelector("[data-part=stop]")?.focus();
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

/** A job as elements: what it does, how far it is, what was found so far, and a button to stop it. */
export function jobLines(job) {
  const at = job.result === null ? "" : `/api/runs/${encodeURIComponent(job.result)}`;
  if (ENDED.has(job.state)) {
    const words = { done: job.kind === "fit" ? "Trained" : "Exported", failed: "Failed", stopped: "Stopped" };
    return [
      element("p", { class: job.state === "failed" ? "note" : "" }, element("b", {}, words[job.state]), job.message ? `: ${job.message}` : ""),
      trials(job.trials ?? []),
      job.kind === "fit" && job.state === "done" && at ? element("p", {}, element("a", { href: `${at}/report`, target: "_blank" }, "Report"), " · ", element("a", { href: "#hand-over" }, "Hand over")) : "",
    ];
  }
  const facts = [job.stage || (job.state === "queued" ? "waiting" : "starting")];
  const epoch = job.epochs?.[job.epochs.length - 1];
  if (epoch) facts.push(`epoch ${epoch.epoch} of ${epoch.epochs}, ${percent(epoch.val_accuracy)}`);
  if (typeof job.seconds_left === "number") facts.push(`${seconds(job.seconds_left)} left`);
  return [
    element("p", {}, element("b", {}, job.kind === "fit" ? "Training" : "Exporting")),
    element("p", { class: "quiet" }, facts.join(" · ")),
    element("progress", { max: 1, value: typeof job.progress === "number" ? job.progress : null, "aria-label": "Progress of the work" }),
    job.message ? element("p", { class: "quiet" }, job.message) : "",
    trials(job.trials ?? []),
    element("button", { type: "button", "data-part": "stop", click: () => attempt(() => post(`/api/jobs/${job.id}/stop`)) }, "Stop"),
  ];
}

/** What training has tried, each with its accuracy on the validation split. */
function trials(found) {
  if (!found.length) return "";
  return element("ol", { class: "bars trials-of-job", "aria-label": "Validation accuracy of what was tried" }, ...found.map((each) => element("li", {},
    element("span", { title: each.trial }, each.trial), bar(each.accuracy), element("b", {}, percent(each.accuracy)))));
}
