// Images come in: dropped, chosen, photographed, or from a folder of the machine that stays where it is.

import { post, upload } from "./api.js";
import { Camera } from "./camera.js";
import { byId, counted, element, grouped, megabytes } from "./dom.js";
import { attempt, complain, say } from "./messages.js";
import { project } from "./project.js";

const FILES = 50; // of one request
const BYTES = 16_000_000;
const SHOTS = 5; // photographs a second while the button is held
const SHOWN = 200; // problems that are listed
const TABLES = /\.(csv|tsv|jsonl|parquet)$/i;
const MOST_TABLES = 4; // that are offered

/** Files of a drop, those in folders with their path. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, above, found) {
  if (entry.name.startsWith(".")) return;
  const name = above + entry.name;
  if (entry.isFile) {
    found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives 100 entries at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) await walk(each, `${name}/`, found);
  }
}

/** Requests of at most 50 files and 16 MB. */
export function batches(files) {
  const made = [];
  let batch = [];
  let bytes = 0;
  for (const each of files) {
    if (batch.length && (batch.length === FILES || bytes + each.file.size > BYTES)) {
      made.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(each);
    bytes += each.file.size;
  }
  if (batch.length) made.push(batch);
  return made;
}

/** The folder that names the class, as the server reads it: the last one above the file. */
function subfolders(files) {
  const names = new Set();
  for (const { name } of files) {
    const parts = name.split("/");
    if (parts.length > 1) names.add(parts[parts.length - 2]);
  }
  return [...names].sort();
}

export class Bring {
  constructor() {
    byId("bring").addEventListener("click", () => this.dialog());
    this.controls = byId("welcome");
    this.controls.append(this.#ways(() => {}));
    this.queue = Promise.resolve();
    this.problems = [];
    project.on("bringing", (data) => this.#heard(data));
    project.on("project", () => this.#folders());
  }

  /** Controls for every way to bring images. */
  #ways(done) {
    const choose = (text, attributes) => {
      const input = element("input", { type: "file", multiple: true, class: "file", ...attributes });
      input.addEventListener("change", () => {
        const files = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })).filter(({ name }) => !name.split("/").some((part) => part.startsWith(".")));
        input.value = "";
        done();
        this.take(files);
      });
      return element("label", { class: "choose" }, input, element("span", {}, text));
    };
    const folder = element("form", { class: "row name-folder", submit: (event) => {
      event.preventDefault();
      done();
      this.#nameFolder(folder.elements.path.value.trim(), folder.elements.labels.value);
    } },
    element("label", {}, "Folder of this machine", element("input", { name: "path", placeholder: "/home/me/photos", required: true, autocomplete: "off", spellcheck: "false", list: "folders" })),
    element("label", {}, "labels", element("select", { name: "labels" }, element("option", { value: "subfolders" }, "from subfolders"), element("option", { value: "table" }, "from its table"), element("option", { value: "none" }, "none"))),
    element("button", { type: "submit" }, "Read"));
    return element("div", { class: "ways" },
      element("div", { class: "row" },
        choose("Choose images, a zip or a table", { accept: "image/*,.zip,.csv,.tsv,.jsonl,.parquet", "data-way": "files" }), choose("Choose a folder", { webkitdirectory: true, "data-way": "folder" }),
        element("button", { type: "button", click: () => { done(); this.burst(); } }, "Photograph")),
      folder,
      element("p", { class: "quiet" }, "A named folder is read where it is: its images are not copied. It must be one that was named when the studio was started, or lie below it."));
  }

  #folders() {
    let list = byId("folders");
    if (!list) document.body.append(list = element("datalist", { id: "folders" }));
    list.replaceChildren(...(project.facts.folders ?? []).map((path) => element("option", { value: path })));
  }

  dialog() {
    const dialog = element("dialog", { "aria-labelledby": "bring-title", close: () => dialog.remove() },
      element("h2", { id: "bring-title" }, "Add images"), this.#ways(() => dialog.close()),
      element("div", { class: "row end" }, element("button", { type: "button", click: () => dialog.close() }, "Close")));
    document.body.append(dialog);
    dialog.showModal();
  }

  async #nameFolder(path, labels) {
    const done = await attempt(async () => {
      await post("/api/folder", { path, labels });
      return true;
    });
    if (done) this.#progress({ text: `Reading ${path} …`, share: null });
  }

  /** What the server tells while it reads a folder. */
  #heard(data) {
    if (!data?.folder) return;
    if (data.state === "running") {
      this.#progress({ text: `${grouped(data.done)} of ${counted(data.total, "image")} read`, share: data.total ? data.done / data.total : null });
      return;
    }
    this.#progress(null);
    if (data.state === "failed") complain(`${data.folder}: ${data.message}`);
    else this.#summary({ ...data, listed: data.first_problems });
  }

  /** Take files; with subfolders or tables beside images, ask where the labels are. */
  async take(files) {
    if (!files.length) return complain("no file was found in what was given");
    const tables = files.filter(({ name }) => TABLES.test(name));
    const images = files.filter(({ name }) => !TABLES.test(name));
    if (!images.length && tables.length === 1) return this.#label(tables[0]);
    const names = subfolders(images);
    const labels = names.length || tables.length ? await this.#ask(images, names, tables) : "none";
    if (labels === null) return undefined;
    const table = tables.find((each) => each === labels);
    this.queue = this.queue.then(async () => {
      await this.send(images, table ? "none" : labels);
      if (table) await this.#label(table);
    });
    return this.queue;
  }

  /** Label images by a table with their names. */
  async #label(table) {
    const answer = await attempt(() => upload("/api/labels/table", [table], "table"));
    if (!answer) return;
    const parts = [`${table.name}: ${counted(answer.labeled, "image")} labeled from the column ${answer.columns.label}`];
    if (answer.kept) parts.push(`${counted(answer.kept, "image")} with another label kept it`);
    if (answer.unknown) parts.push(`${counted(answer.unknown, "name")} unknown`);
    const told = [...answer.notes.map((note) => [table.name, note]), ...answer.unknown_names.map((name) => [name, "no image has this name, or several have"])];
    await project.changed(answer);
    project.tell("images");
    say(parts.join(", "), told.length ? { text: "Show", act: () => this.#list(told, "What was read from the table") } : null);
  }

  /** Where the labels are: "subfolders", "none", a table, or null for not to add anything. */
  #ask(files, names, tables) {
    return new Promise((resolve) => {
      let answer = null;
      const answered = (value) => () => { answer = value; dialog.close(); };
      const shown = names.slice(0, 8).join(", ") + (names.length > 8 ? ` and ${names.length - 8} more` : "");
      const many = tables.length > MOST_TABLES ? ` The first ${MOST_TABLES} of ${tables.length} tables are offered.` : "";
      const dialog = element("dialog", { "aria-labelledby": "ask-title", close: () => { dialog.remove(); resolve(answer); } },
        element("h2", { id: "ask-title" }, counted(files.length, "file") + (names.length ? ` in ${counted(names.length, "folder")}` : "")),
        element("p", {}, (names.length ? `Folders: ${shown}. ` : "") + (tables.length ? `Where are the labels?${many}` : "")),
        element("div", { class: "row end" },
          names.length ? element("button", { type: "button", class: tables.length ? "" : "primary", click: answered("subfolders") }, "Folders are classes") : null,
          ...tables.slice(0, MOST_TABLES).map((table) => element("button", { type: "button", class: tables.length === 1 ? "primary" : "", click: answered(table) }, `Labels from ${table.name.split("/").pop()}`)),
          element("button", { type: "button", click: answered("none") }, "Without labels"),
          element("button", { type: "button", click: answered(null) }, "Cancel")));
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  /** Upload in batches; every image that could not be taken is told with its reason. */
  async send(files, labels) {
    const largest = 1e6 * (project.facts?.limits?.megabytes ?? 64);
    const sum = { added: 0, duplicates: [], problems: [], images: [] };
    const fitting = files.filter(({ file, name }) => {
      if (file.size <= largest) return true;
      sum.problems.push({ name, reason: `larger than the ${megabytes(largest)} that one request may have: name its folder instead` });
      return false;
    });
    const cancel = new AbortController();
    let sent = 0;
    const report = () => this.#progress({ text: `${counted(sent, "file")} of ${files.length} sent`, share: sent / files.length, cancel: () => cancel.abort() });
    report();
    try {
      for (const batch of batches(fitting)) {
        const answer = await upload(`/api/images?labels=${labels}`, batch, "files", cancel.signal);
        sent += batch.length;
        report();
        sum.added += answer.added;
        for (const kind of ["duplicates", "problems", "images"]) sum[kind].push(...answer[kind]);
        project.own = Math.max(project.own, answer.revision ?? 0);
        await project.refresh();
        project.tell("images");
      }
    } catch (failure) {
      if (failure.name === "AbortError") say("Stopped: the images that were sent are kept");
      else complain(failure);
    }
    this.#progress(null);
    this.#summary(sum);
    return sum;
  }

  #progress(state) {
    const box = byId("upload") ?? element("div", { id: "upload", class: "upload", role: "status" });
    if (!state) return box.remove();
    box.replaceChildren(element("span", {}, state.text), element("progress", { max: 1, value: state.share, "aria-label": "Progress" }));
    if (state.cancel) box.append(element("button", { type: "button", click: state.cancel }, "Stop"));
    if (!box.isConnected) byId("messages").before(box);
    return undefined;
  }

  /** `duplicates` and `problems` are lists, or numbers with the first of them in `listed`. */
  #summary({ added = 0, duplicates = [], problems = [], listed = null }) {
    const parts = [`${counted(added, "image")} added`];
    const number = (given) => (Array.isArray(given) ? given.length : given);
    if (number(duplicates)) parts.push(counted(number(duplicates), "duplicate"));
    if (number(problems)) parts.push(counted(number(problems), "problem"));
    const told = listed ? listed.map((each) => [each.name, each.reason])
      : [...duplicates.map((each) => [each.name, `the same image as ${each.of}`]), ...problems.map((each) => [each.name, each.reason])];
    say(parts.join(", "), told.length ? { text: "Show", act: () => this.#list(told) } : null);
  }

  #list(told, title = "Duplicates and problems") {
    const dialog = element("dialog", { "aria-labelledby": "told-title", close: () => dialog.remove() },
      element("h2", { id: "told-title" }, title),
      element("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-labelledby": "told-title" }, element("table", {},
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "File"), element("th", { scope: "col" }, "Reason"))),
        element("tbody", {}, ...told.slice(0, SHOWN).map(([name, reason]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, reason)))))),
      told.length > SHOWN ? element("p", { class: "quiet" }, `and ${told.length - SHOWN} more`) : null,
      element("div", { class: "row end" }, element("button", { type: "button", click: () => dialog.close() }, "Close")));
    document.body.append(dialog);
    dialog.showModal();
  }

  /** Photograph with the camera while a button is held, into a class or without a label. */
  async burst() {
    const camera = new Camera();
    const shots = [];
    let timer = 0;
    const into = element("select", {}, element("option", { value: "" }, "no label"), ...project.classes.map((each) => element("option", { value: each.id }, each.name)));
    const taken = element("p", { role: "status" }, "Hold the button, or the space bar on it.");
    const shoot = async () => {
      const blob = await camera.photograph();
      shots.push(blob);
      taken.textContent = counted(shots.length, "photograph");
    };
    const begin = (event) => {
      if (timer || (event.type === "keydown" && event.key !== " ")) return;
      event.preventDefault();
      shoot();
      timer = setInterval(shoot, 1000 / SHOTS);
    };
    const end = () => { clearInterval(timer); timer = 0; };
    const hold = element("button", { type: "button", class: "primary hold", autofocus: true, pointerdown: begin, keydown: begin, pointerup: end, pointerleave: end, keyup: end }, "Photograph");
    const finish = async () => {
      end();
      dialog.close();
      if (!shots.length) return;
      const stamp = new Date().toISOString().replace(/[:.]/g, "-");
      const files = shots.map((blob, at) => ({ file: new File([blob], "photograph.jpg", { type: "image/jpeg" }), name: `camera-${stamp}-${String(at + 1).padStart(3, "0")}.jpg` }));
      const classId = into.value === "" ? null : Number(into.value);
      const sum = await this.send(files, "none");
      if (classId !== null && sum.images.length) await attempt(() => project.label(sum.images, classId));
      project.tell("images");
    };
    const dialog = element("dialog", { class: "burst", "aria-labelledby": "burst-title", close: () => { end(); camera.stop(); dialog.remove(); } },
      element("h2", { id: "burst-title" }, "Photograph"), camera.video, taken,
      element("label", {}, "Label ", into),
      element("div", { class: "row end" }, hold, element("button", { type: "button", click: finish }, "Add"), element("button", { type: "button", click: () => dialog.close() }, "Cancel")));
    document.body.append(dialog);
    dialog.showModal();
    try {
      await camera.start();
    } catch (failure) {
      dialog.close();
      complain(failure);
    }
  }
}
