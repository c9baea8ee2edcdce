// Elements, numbers and words. Text from data reaches the page as text nodes and attributes only, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_NAMES = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "polyline", "title"]);

/** element("button", { class: "icon", click: act }, "Go"): functions become listeners, false and null are left out. */
export function element(name, attributes = {}, ...children) {
  const made = SVG_NAMES.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** 0.8765 -> "87.7 %", with a narrow space that does not break. */
export function percent(share, digits = 1) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  if (share > 0 && share < 0.0005) return "<0.1\u202f%";
  return `${(100 * share).toFixed(digits)}\u202f%`;
}

const GROUPED = new Intl.NumberFormat("en");
export const grouped = (number) => GROUPED.format(number);

/** counted(2, "image") -> "2 images"; classes need their plural: counted(2, "class", "classes"). */
export const counted = (number, one, many = `${one}s`) => `${grouped(number)} ${number === 1 ? one : many}`;

export function seconds(value) {
  if (value < 90) return `${Math.max(1, Math.round(value))}\u202fs`;
  if (value < 5400) return `${Math.round(value / 60)}\u202fmin`;
  return `${(value / 3600).toFixed(1)}\u202fh`;
}

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))}\u202fkB` : `${(bytes / 1e6).toFixed(1)}\u202fMB`;
}

/** Call once after the calls have stopped for some milliseconds. */
export function debounced(work, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** Call at once, then at most every so many milliseconds, and once more at the end. */
export function throttled(work, milliseconds) {
  let last = -Infinity;
  let timer = 0;
  return () => {
    clearTimeout(timer);
    const wait = last + milliseconds - performance.now();
    const go = () => {
      last = performance.now();
      work();
    };
    if (wait <= 0) go();
    else timer = setTimeout(go, wait);
  };
}

/** Whether a key press belongs to a control that takes text or has keys of its own. */
export function takesKeys(target) {
  return target instanceof Element && target.closest("input:not([type=checkbox]):not([type=range]), textarea, select, dialog, [contenteditable]") !== null;
}

/** A bar of a share between 0 and 1. CSP forbids style attributes, so that it is an SVG. */
export function bar(share, kind = "") {
  return element("svg", { class: `share ${kind}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("rect", { width: (100 * Math.min(1, Math.max(0, share))).toFixed(2), height: 6 }));
}

/** Classes with their probabilities, most likely first. */
export function bars(top) {
  return element("ol", { class: "bars" }, ...top.map((each) => element("li", {},
    element("span", { title: each.name }, each.name), bar(each.probability), element("b", {}, percent(each.probability)))));
}
