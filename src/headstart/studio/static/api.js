// The HTTP API. Every failure becomes an error whose message is the server's own sentence.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

const TRIES = 6;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

let changing = 0;

/** How many requests that change something are on their way. */
export const requestsOnTheWay = () => changing;

async function ask(path, options) {
  if (!options.method) return askUntilAnswered(path, options);
  changing += 1;
  try {
    return await askUntilAnswered(path, options);
  } finally {
    changing -= 1;
  }
}

async function askUntilAnswered(path, options) {
  for (let tried = 1; ; tried += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } });
    } catch (failure) {
      if (failure.name === "AbortError") throw failure;
      throw new ApiError(0, "the studio cannot be reached: is it still running?");
    }
    if (response.status === 503 && tried < TRIES) {
      await pause(Number(response.headers.get("Retry-After") ?? 1) * (0.5 + Math.random()));
      continue;
    }
    if (response.status === 401) location.reload(); // the sign-in page
    if (response.ok) return response.status === 204 ? null : response.json();
    let detail = null;
    try {
      detail = (await response.json()).detail;
    } catch {
      // not problem details: the status is all there is to say
    }
    throw new ApiError(response.status, typeof detail === "string" ? detail : `the studio answered with status ${response.status}`);
  }
}

export const get = (path, signal) => ask(path, { signal });
export const post = (path, body = {}) => send("POST", path, body);
export const patch = (path, body) => send("PATCH", path, body);
export const remove = (path) => ask(path, { method: "DELETE" });

function send(method, path, body) {
  return ask(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

/** Send files: [{file, name}]. */
export function upload(path, files, field = "files", signal = undefined, headers = {}) {
  const body = new FormData();
  for (const { file, name } of files) body.append(field, file, name);
  return ask(path, { method: "POST", body, signal, headers });
}

/** Images as bytes to predict; one that cannot be read has a problem in the answer. */
export function predict(files, run, signal) {
  return upload(`/api/predict?run=${encodeURIComponent(run)}`, files, "images", signal, { Prefer: "handling=lenient" });
}

export const thumbnail = (image) => `/api/images/${image.id}/thumbnail${image.hash ? `?v=${encodeURIComponent(image.hash)}` : ""}`;
