// The page with a script: images are classified as soon as they are chosen, dropped, pasted or photographed.

const form = document.getElementById("form");
const status = document.getElementById("status");
const result = document.getElementById("result");
const coverage = form.dataset.coverage === "" ? null : Number(form.dataset.coverage);
const largest = Number(form.dataset.megabytes) * 1e6;
const AT_ONCE = 8; // requests; the server puts them into batches
const TRIES = 20;

let items = []; // {name, file, url, answer, problem}
let current = 0; // the number of the latest choice of images: answers to earlier ones are dropped

const percent = (share) => (share > 0 && share < 0.0005 ? "<0.1\u202f%" : `${(100 * share).toFixed(1)}\u202f%`);

function element(name, attributes = {}, ...children) {
  const svg = name === "svg" || name === "rect";
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

async function predict(file, explain) {
  if (file.size > largest) return { problem: `larger than the ${form.dataset.megabytes} megabytes that the server accepts` };
  for (let attempt = 1; ; attempt += 1) {
    const body = new FormData();
    body.append("images", file, file.name || "pasted image");
    let response;
    try {
      // With "lenient", an image that cannot be read has a problem in the answer instead of a status of its own.
      const headers = { Accept: "application/json", Prefer: "handling=lenient" };
      response = await fetch(`/predict?explain=${explain}`, { method: "POST", body, headers });
    } catch {
      return { problem: "the server cannot be reached" };
    }
    if (response.status === 503 && attempt < TRIES) {
      await pause(Number(response.headers.get("Retry-After") ?? 1) * (0.5 + Math.random()));
      continue;
    }
    if (response.status === 401) location.reload();
    try {
      const read = await response.json();
      if (!response.ok) return { problem: read.detail };
      const [answer] = read.images;
      return answer.problem ? { problem: answer.problem } : { answer };
    } catch {
      return { problem: `the server answered with status ${response.status}` };
    }
  }
}

async function classify(files) {
  const mine = (current += 1);
  const images = [...files];
  if (!images.length) return;
  for (const item of items) URL.revokeObjectURL(item.url);
  items = images.map((file) => ({ name: file.name || "pasted image", file, url: URL.createObjectURL(file) }));
  const made = items;
  result.replaceChildren();
  result.setAttribute("aria-busy", "true");
  let done = 0;
  const report = () => {
    status.textContent = done < made.length ? `Classifying ${made.length === 1 ? made[0].name : `${done} of ${made.length} images`} …` : "";
  };
  report();
  const waiting = [...made];
  const work = async () => {
    for (let item = waiting.shift(); item && mine === current; item = waiting.shift()) {
      Object.assign(item, await predict(item.file, made.length === 1));
      done += 1;
      if (mine === current) report();
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, made.length) }, work));
  if (mine !== current) return;
  result.removeAttribute("aria-busy");
  if (made.length === 1) {
    const [item] = made;
    if (item.problem) complain(item.problem);
    else {
      result.replaceChildren(card(item));
      status.textContent = `${item.name}: ${item.answer.top[0].name}, ${percent(item.answer.top[0].probability)}`;
    }
  } else {
    result.replaceChildren(table());
    status.textContent = `${made.length} images classified, ${made.filter((item) => item.problem).length} with a problem`;
  }
}

function complain(text) {
  status.replaceChildren(element("span", { class: "note" }, text));
}

function card(item, heading = "h2") {
  const { answer, url } = item;
  const best = answer.top[0];
  const pictures = [figure(url, item.name, "The image", "whole")];
  if (answer.explanation?.saliency) {
    const text = `What the network saw, bright where it speaks for ${best.name}`;
    pictures.push(figure(answer.explanation.saliency, text, `Where the network looked (${answer.explanation.method})`));
  }
  const facts = element("div", {}, element("p", { class: "quiet" }, item.name), bars(answer.top));
  if (answer.out_of_distribution) {
    facts.append(element("p", { class: "note" }, "This looks like none of the classes: do not rely on the answer."));
  }
  if (answer.prediction_set) {
    const names = answer.prediction_set.join(", ");
    facts.append(element("p", { class: "set" }, `${Math.round(100 * coverage)} of 100 such sets contain the true class: `, element("b", {}, names)));
  }
  const made = element("section", { class: "answer", "aria-labelledby": "answer-name" });
  made.append(element(heading, { id: "answer-name" }, best.name), element("div", { class: "card" }, facts, ...pictures));
  const near = answer.explanation?.neighbors ?? [];
  if (near.length) {
    const shown = near.map((each) => {
      const image = each.thumbnail ? element("img", { src: each.thumbnail, alt: "" }) : element("span", { class: "missing" }, "no image");
      return element("li", {}, element("figure", {}, image, element("figcaption", {}, each.label)));
    });
    made.append(element("h3", {}, "Nearest training images"), element("ul", { class: "near" }, ...shown));
  }
  return made;
}

function figure(source, text, caption, kind = "") {
  const image = element("img", { src: source, alt: text, class: kind });
  // A browser may not show what the server reads, a TIFF for example.
  image.addEventListener("error", () => image.replaceWith(element("span", { class: "missing" }, "your browser does not show this kind of image")));
  return element("figure", {}, image, element("figcaption", {}, caption));
}

function bars(top) {
  const rows = top.map(({ name, probability }) => {
    const bar = element("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(element("rect", { width: (100 * probability).toFixed(2), height: "6" }));
    return element("li", {}, element("span", { title: name }, name), bar, element("b", {}, percent(probability)));
  });
  return element("ol", { class: "bars" }, ...rows);
}

const remarks = (item) => item.problem ?? (item.answer.out_of_distribution ? "looks like none of the classes" : "");
const COLUMNS = [
  ["Image", (item) => item.name],
  ["Class", (item) => item.answer?.top[0].name ?? ""],
  ["Probability", (item) => item.answer?.top[0].probability ?? -1],
  ["Remarks", remarks],
];

function table() {
  const body = element("tbody");
  const heads = COLUMNS.map(([title, value], number) => {
    const sort = () => {
      const rising = heads[number].getAttribute("aria-sort") !== "ascending";
      for (const head of heads) head.removeAttribute("aria-sort");
      heads[number].setAttribute("aria-sort", rising ? "ascending" : "descending");
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
      items.sort((a, b) => (rising ? 1 : -1) * compare(value(a), value(b)));
      fill();
    };
    return element("th", { scope: "col" }, element("button", { type: "button", click: sort }, title));
  });
  const fill = () => body.replaceChildren(...items.map(row));
  fill();
  const save = element("button", { type: "button", click: download }, "Download CSV");
  const made = element("section", { "aria-labelledby": "answer" });
  made.append(
    element("div", { class: "tools" }, element("h2", { id: "answer" }, `${items.length} images`), save),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "answer" },
      element("table", { class: "many" }, element("thead", {}, element("tr", {}, ...heads)), body)),
    element("div", { id: "detail" }),
  );
  return made;
}

function row(item) {
  const image = element("img", { src: item.url, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.remove());
  const name = item.answer ? element("button", { type: "button", click: () => show(item) }, item.name) : item.name;
  const odd = item.problem || item.answer.out_of_distribution;
  return element("tr", {},
    element("th", { scope: "row" }, element("div", {}, image, name)),
    element("td", {}, item.answer?.top[0].name ?? ""),
    element("td", {}, item.answer ? percent(item.answer.top[0].probability) : ""),
    element("td", { class: odd ? "odd" : "" }, remarks(item)));
}

async function show(item) {
  if (!item.answer.explanation) {
    status.textContent = `Looking at ${item.name} …`;
    const { answer, problem } = await predict(item.file, true);
    if (problem) return complain(problem);
    item.answer = answer;
    status.textContent = "";
  }
  const detail = document.getElementById("detail");
  if (!detail) return; // other images were chosen meanwhile
  detail.replaceChildren(card(item, "h3"));
  detail.scrollIntoView({ block: "nearest" });
}

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
const cell = (text) => `"${String(text).replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;

function download() {
  const most = Math.max(1, ...items.map((item) => item.answer?.top.length ?? 0));
  const ranks = Array.from({ length: most }, (_, rank) => rank);
  const head = ["image", ...ranks.flatMap((rank) => [`class_${rank + 1}`, `probability_${rank + 1}`]), "prediction_set", "out_of_distribution", "problem"];
  const lines = items.map(({ name, answer, problem }) => [
    cell(name),
    ...ranks.flatMap((rank) => (answer?.top[rank] ? [cell(answer.top[rank].name), answer.top[rank].probability.toFixed(6)] : ["", ""])),
    cell((answer?.prediction_set ?? []).join("; ")),
    answer?.out_of_distribution == null ? "" : answer.out_of_distribution ? "yes" : "no",
    cell(problem ?? ""),
  ].join(","));
  const url = URL.createObjectURL(new Blob([[head.join(","), ...lines].join("\n"), "\n"], { type: "text/csv" }));
  element("a", { href: url, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

document.documentElement.classList.add("scripted-on");
for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    classify(input.files);
    input.value = ""; // so that the same image can be chosen again
  });
}
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("dragover", (event) => {
  event.preventDefault();
  form.classList.add("over");
});
for (const name of ["dragleave", "drop"]) addEventListener(name, () => form.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  classify(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) classify(event.clipboardData.files);
});
