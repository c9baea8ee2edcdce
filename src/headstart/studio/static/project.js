// The project as this tab knows it: facts, what changes them, and what other tabs and the classifier tell.

import { get, post, requestsOnTheWay } from "./api.js";
import { byId, counted, debounced, element } from "./dom.js";
import { attempt, complain, say } from "./messages.js";

const RETRY = [1, 2, 4, 8, 15]; // seconds

class Project extends EventTarget {
  facts = null; // as GET /api/project
  own = 0; // the latest revision that this tab has made or seen
  told = 0; // the latest revision that an event told of

  get classes() {
    return this.facts?.classes ?? [];
  }

  classOf(id) {
    return this.classes.find((each) => each.id === id) ?? null;
  }

  nameOf(id) {
    return id === null || id === undefined ? "no label" : (this.classOf(id)?.name ?? `class ${id}`);
  }

  /** Read the project again. Several callers at once share one request, and a late answer never replaces a newer one. */
  async refresh() {
    const asked = (this.asked = (this.asked ?? 0) + 1);
    const facts = await get("/api/project");
    if (asked < this.asked && this.facts) return;
    this.facts = facts;
    this.own = Math.max(this.own, facts.revision);
    this.tell("project");
    this.learned(facts.learning);
  }

  /** Tell of the classifier's state where it is another one. */
  learned(state) {
    const text = JSON.stringify(state ?? null);
    if (text === this.learningText) return;
    this.learningText = text;
    if (this.facts) this.facts.learning = state;
    this.tell("learning", state ?? null);
  }

  tell(kind, data = null) {
    this.dispatchEvent(new CustomEvent(kind, { detail: data }));
  }

  on(kind, act) {
    this.addEventListener(kind, (event) => act(event.detail));
  }

  /** Take over what a changing request answered, then read the rest. */
  async changed(answer) {
    if (typeof answer?.revision === "number") this.own = Math.max(this.own, answer.revision);
    if (answer?.classes && this.facts) this.facts.classes = answer.classes;
    if (answer?.counts && this.facts) this.facts.counts = answer.counts;
    this.tell("project");
    await this.refresh();
  }

  async label(ids, classId) {
    const answer = await post("/api/labels", { images: ids, class: classId });
    this.changed(answer).catch(complain);
    const name = this.nameOf(classId);
    const text = classId === null ? `The label of ${counted(ids.length, "image")} was removed` : `${counted(ids.length, "image")} labeled ${name}`;
    say(text, { text: "Undo", act: () => attempt(() => this.undo()) });
  }

  async undo() {
    const answer = await post("/api/undo");
    await this.changed(answer);
    say(answer.text ? `Undone: ${answer.text}` : "Undone", { text: "Redo", act: () => attempt(() => this.redo()) });
    this.tell("images");
  }

  async redo() {
    const answer = await post("/api/redo");
    await this.changed(answer);
    say(answer.text ? `Done again: ${answer.text}` : "Done again");
    this.tell("images");
  }

  /** Listen to the server. A hidden tab does not: browsers keep only six connections to a host. */
  listen() {
    this.tries = 0;
    this.connect();
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.hiding);
      if (document.hidden) {
        this.hiding = setTimeout(() => this.disconnect(), 10000);
      } else if (!this.source) {
        this.connect();
      }
    });
  }

  disconnect() {
    clearTimeout(this.retrying);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.disconnect();
    const source = (this.source = new EventSource("/api/events"));
    source.addEventListener("open", () => {
      const again = this.tries > 0 || this.opened;
      this.opened = true;
      this.tries = 0;
      lost(null);
      if (again) this.catchUp();
    });
    source.addEventListener("error", () => {
      this.disconnect();
      const wait = RETRY[Math.min(this.tries, RETRY.length - 1)];
      this.tries += 1;
      lost("The connection to the studio is lost. What was labeled is kept; trying again …");
      if (!document.hidden) this.retrying = setTimeout(() => this.connect(), 1000 * wait);
    });
    const catchUp = debounced(() => this.catchUp(), 60);
    // The event of an own change may come before the answer to it: look at the revision once that has arrived.
    const changed = debounced(() => {
      if (requestsOnTheWay()) changed();
      else if (this.told > this.own) this.catchUp();
    }, 120);
    this.hear("change", (data) => {
      this.told = Math.max(this.told, data?.revision ?? Infinity);
      changed();
    });
    this.hear("images", (data) => {
      this.tell("bringing", data);
      catchUp();
    });
    this.hear("learning", (data) => this.learned(data));
    this.hear("features", (data) => this.learned({ ...this.facts?.learning, ...data }));
    for (const kind of ["evaluation", "job"]) this.hear(kind, (data) => this.tell(kind, data));
  }

  hear(kind, act) {
    this.source.addEventListener(kind, (event) => {
      let data = null;
      try {
        data = JSON.parse(event.data);
      } catch {
        complain(`an event of the studio cannot be read: ${event.data.slice(0, 80)}`);
      }
      act(data);
    });
  }

  /** Another tab, a program or the server changed something. */
  async catchUp() {
    await attempt(() => this.refresh());
    this.tell("images");
  }
}

function lost(text) {
  const connection = byId("connection");
  if ((text === null) === connection.hidden) return;
  connection.hidden = text === null;
  connection.replaceChildren(element("span", {}, text ?? ""));
}

export const project = new Project();
