// The images of a query: a sparse array that is filled where it is looked at. What has been scrolled past is not asked for.

import { get } from "./api.js";
import { complain } from "./messages.js";

const PAGE = 200;
const AT_ONCE = 500; // rows of one request by id

export class ImageList extends EventTarget {
  rows = [];
  total = 0;
  query = { show: "all", order: "added" };
  stale = false; // whether the order has changed on the server meanwhile
  #asking = new Set(); // {first, last, controller}
  #opening = null;
  #generation = 0;
  #reading = null;

  /** Show another query. The old rows stay until the first page of the new ones is there. */
  async open(query) {
    this.query = { ...query };
    return this.#read(0);
  }

  /** Whether rows are being read that will replace these. */
  get reading() {
    return this.#reading !== null;
  }

  /** The same query as the server has it now; `around` is the row that stays in sight. */
  reload(around = 0) {
    return this.#read(around);
  }

  async #read(around) {
    this.#generation += 1;
    const generation = this.#generation;
    for (const each of this.#asking) each.controller.abort();
    this.#asking.clear();
    this.#opening?.abort();
    const controller = (this.#opening = new AbortController());
    const first = Math.max(0, Math.floor((around - PAGE / 2) / 50) * 50);
    this.#reading = { around };
    try {
      let answer = await this.#ask(first, PAGE, controller.signal);
      if (first > 0 && answer.images.length === 0 && answer.total > 0) {
        answer = await this.#ask(Math.max(0, answer.total - PAGE), PAGE, controller.signal);
        answer.first = Math.max(0, answer.total - PAGE);
      }
      if (generation !== this.#generation) return;
      this.#reading = null;
      this.rows = [];
      this.total = answer.total;
      this.stale = false;
      this.#put(answer.first ?? first, answer.images);
      this.#tell("reset");
    } catch (failure) {
      if (generation !== this.#generation) return;
      this.#reading = null;
      complain(failure);
    }
  }

  #ask(offset, limit, signal) {
    const { show, order } = this.query;
    return get(`/api/images?${new URLSearchParams({ show, order, offset, limit })}`, signal);
  }

  #put(first, images) {
    for (let at = 0; at < images.length; at += 1) this.rows[first + at] = images[at];
  }

  #tell(kind) {
    this.dispatchEvent(new Event(kind));
  }

  /** Have the rows from first to last, both included, and nothing that is far from them. */
  ensure(first, last) {
    for (const each of this.#asking) {
      if (each.last < first - PAGE || each.first > last + PAGE) {
        each.controller.abort();
        this.#asking.delete(each);
      }
    }
    const end = Math.min(last, this.total - 1);
    for (let at = first; at <= end; at += 1) {
      if (this.rows[at] !== undefined || this.#isAsked(at)) continue;
      this.#fetch(at, at + PAGE - 1);
    }
  }

  #isAsked(at) {
    for (const each of this.#asking) if (at >= each.first && at <= each.last) return true;
    return false;
  }

  async #fetch(first, last) {
    const mine = { first, last, controller: new AbortController() };
    this.#asking.add(mine);
    const generation = this.#generation;
    try {
      const answer = await this.#ask(first, last - first + 1, mine.controller.signal);
      if (generation !== this.#generation || !this.#asking.has(mine)) return;
      this.#put(first, answer.images);
      const changed = answer.total !== this.total;
      this.total = answer.total;
      this.#tell(changed ? "resized" : "filled");
    } catch (failure) {
      if (failure.name !== "AbortError") complain(failure);
    } finally {
      this.#asking.delete(mine);
    }
  }

  /** All rows from first to last, asked for where they are not there yet. */
  async between(first, last) {
    for (let at = first; at <= last; at += 1) {
      if (this.rows[at] !== undefined) continue;
      const answer = await this.#ask(at, Math.min(PAGE, last - at + 1));
      if (!answer.images.length) break;
      this.#put(at, answer.images);
    }
    return this.rows.slice(first, last + 1).filter((row) => row !== undefined);
  }

  /** Take images out, so that the others close up; what is being asked for would come to the wrong place. */
  take(ids) {
    const before = this.total;
    const kept = [];
    const gone = []; // places
    this.rows.forEach((row, at) => { // passes over what is not there
      if (ids.has(row.id)) gone.push(at);
      else kept[at - gone.length] = row;
    });
    kept.length = Math.max(0, before - gone.length);
    this.rows = kept;
    this.total = kept.length;
    for (const each of this.#asking) each.controller.abort();
    this.#asking.clear();
    this.dispatchEvent(new CustomEvent("resized", { detail: gone }));
    if (this.#reading) this.#read(this.#reading.around); // what was being read may still have them
  }

  /** Change rows that are there. */
  change(ids, act) {
    this.rows.forEach((row) => {
      if (ids.has(row.id)) act(row);
    });
    this.#tell("filled");
  }

  /** Bring these images up to date where they are: their label, source and suggestion. */
  async renew(ids) {
    if (!ids.length) return;
    const generation = this.#generation;
    try {
      const answer = await get(`/api/images?ids=${ids.slice(0, AT_ONCE).join(",")}&limit=${AT_ONCE}`);
      if (generation !== this.#generation) return;
      const fresh = new Map(answer.images.map((image) => [image.id, image]));
      this.rows.forEach((row, at) => {
        const image = fresh.get(row.id);
        if (image) this.rows[at] = image;
      });
      this.#tell("filled");
    } catch (failure) {
      complain(failure);
    }
  }

  indexOf(id) {
    return this.rows.findIndex((row) => row?.id === id);
  }
}
