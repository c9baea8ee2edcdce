// The page: its views by address, what is dropped on it, and what is common to all.

import { Bring, droppedFiles } from "./bring.js";
import { byId, element, takesKeys } from "./dom.js";
import { HandOverView } from "./handover.js";
import { LabelView } from "./label.js";
import { Learning } from "./learning.js";
import { attempt, complain } from "./messages.js";
import { project } from "./project.js";
import { TryView } from "./try.js";
import { UnderstandView } from "./understand.js";

const learning = new Learning();
const views = { label: new LabelView(), understand: new UnderstandView(), try: new TryView(), "hand-over": new HandOverView(learning) };
const bring = new Bring();
let current = null;

function route() {
  const [name, show] = decodeURIComponent(location.hash.slice(1)).split("/");
  const view = views[name] ? name : "label";
  if (current && current !== view) views[current].leave?.();
  current = view;
  for (const each of Object.keys(views)) byId(`view-${each}`).hidden = each !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.view = view;
  const counts = project.facts?.counts;
  const first = counts && counts.unlabeled === 0 && counts.images > 0 ? "all" : "unlabeled";
  views[view].open(show || (view === "label" ? (views.label.show ?? first) : undefined));
}

const SHORTCUTS = [
  ["Arrow keys, Page Up, Page Down, Home, End", "go from image to image"],
  ["Shift + arrow, Shift + click", "select a range"],
  ["Space, Ctrl + click", "add to the selection, or take out"],
  ["Ctrl + A", "select all images in sight"],
  ["1 to 9", "label the selected images with that class"],
  ["0", "remove the label"],
  ["A", "accept the suggestions of the selection, or of all images in sight"],
  ["X", "reject the suggestions of the selection"],
  ["Enter, I", "details of the image"],
  ["R", "sort again by what helps most"],
  ["N", "new class"],
  ["+ and −", "larger and smaller images"],
  ["Ctrl + Z, Ctrl + Shift + Z", "undo, redo"],
  ["Escape", "close, clear the selection"],
  ["?", "this list"],
];

function showKeys() {
  const dialog = element("dialog", { "aria-labelledby": "keys-title", close: () => dialog.remove() },
    element("h2", { id: "keys-title" }, "Keyboard"),
    element("dl", { class: "keys" }, ...SHORTCUTS.map(([key, does]) => element("div", {}, element("dt", {}, key), element("dd", {}, does)))),
    element("div", { class: "row end" }, element("button", { type: "button", click: () => dialog.close() }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

function listen() {
  byId("undo").addEventListener("click", () => attempt(() => project.undo()));
  byId("redo").addEventListener("click", () => attempt(() => project.redo()));
  byId("keys").addEventListener("click", showKeys);
  addEventListener("hashchange", route);
  project.on("project", () => {
    byId("undo").disabled = !project.facts.can_undo;
    byId("redo").disabled = !project.facts.can_redo;
  });
  document.addEventListener("keydown", (event) => {
    if (takesKeys(event.target) || document.querySelector("dialog[open]")) return;
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (control && (key === "z" || key === "y")) {
      event.preventDefault();
      attempt(() => (key === "y" || event.shiftKey ? project.redo() : project.undo()));
    } else if (event.key === "?" && !control) {
      showKeys();
    }
  });
  dropping();
  addEventListener("unhandledrejection", (event) => complain(event.reason));
}

function dropping() {
  const here = byId("drop-here");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) here.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) here.hidden = true;
  });
  addEventListener("drop", async (event) => {
    here.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const files = await droppedFiles(event.dataTransfer);
    if (current === "try") views.try.take(files);
    else bring.take(files);
  });
}

listen();
await attempt(() => project.refresh());
route();
project.listen();
document.documentElement.dataset.ready = "yes"; // for programs that drive the page
