// What happened, said once on the page and to screen readers. Errors stay for a minute.

import { byId, element } from "./dom.js";

const SHOWN = 6000; // milliseconds
const ERRORS_SHOWN = 60000;
const MOST = 4;

/** Tell screen readers only. */
export function announce(text) {
  byId("live").textContent = text;
}

function put(made, milliseconds) {
  const messages = byId("messages");
  while (messages.children.length >= MOST) messages.firstChild.remove();
  messages.append(made);
  if (milliseconds) setTimeout(() => made.remove(), milliseconds);
}

function close(made) {
  return element("button", { type: "button", class: "icon", "aria-label": "Close this message", click: () => made.remove() }, "×");
}

/** Say what was done; `action` is {text, act}, for example undo. */
export function say(text, action = null) {
  for (const old of byId("messages").querySelectorAll(".message:not(.error)")) old.remove();
  const made = element("div", { class: "message" }, element("span", {}, text));
  if (action) {
    made.append(element("button", { type: "button", click: () => { made.remove(); action.act(); } }, action.text));
  }
  made.append(close(made));
  put(made, SHOWN);
  announce(text);
}

/** Say what went wrong, in the words of the server. The same error is not repeated. */
export function complain(failure) {
  const text = typeof failure === "string" ? failure : failure.message;
  if (failure?.name === "AbortError") return;
  for (const old of byId("messages").querySelectorAll(".error")) {
    if (old.dataset.text === text) return;
  }
  const dialog = document.querySelector("dialog[open]"); // it covers the messages
  if (dialog) {
    dialog.querySelector(".note")?.remove();
    dialog.append(element("p", { class: "note", role: "alert" }, text));
    return;
  }
  const made = element("div", { class: "message error", role: "alert", "data-text": text }, element("span", {}, text));
  made.append(close(made));
  put(made, ERRORS_SHOWN);
}

/** Run a task and say what went wrong with it; returns undefined then. */
export async function attempt(task) {
  try {
    return await task();
  } catch (failure) {
    complain(failure);
    return undefined;
  }
}
