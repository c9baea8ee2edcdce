"use strict";
(async () => {
  const find = (id) => document.getElementById(id);
  const status = find("status"), results = find("results"), drop = find("drop");
  const metadata = JSON.parse(find("metadata").textContent);
  const say = (text) => { status.textContent = text; };
  const TOP = 5, LARGEST = 16e6;  // pixels that a page can reasonably hold

  /** The bytes of a part of this page, which is packed with gzip and base64. */
  async function unpack(id) {
    const part = find(id);
    const packed = Uint8Array.from(atob(part.textContent), (letter) => letter.charCodeAt(0));
    part.remove();  // tens of megabytes
    const bytes = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(bytes).arrayBuffer());
  }

  async function load() {
    const code = URL.createObjectURL(new Blob([await unpack("runtime")], { type: "text/javascript" }));
    const ort = await import(code);
    URL.revokeObjectURL(code);
    ort.env.wasm.numThreads = 1;  // pages opened from a file may not share memory between threads
    ort.env.wasm.wasmBinary = (await unpack("wasm")).buffer;
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(await unpack("model"), { executionProviders: ["wasm"] });
    return { ort, session };
  }

  /** Upright RGB pixels. A large JPEG is reduced by 2, 4 or 8, as headstart decodes it; transparency becomes white. */
  async function pixelsOf(blob) {
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    const fits = (factor) => Math.min(bitmap.width, bitmap.height) / factor >= metadata.min_side;
    const reducible = blob.type === "image/jpeg" || bitmap.width * bitmap.height > LARGEST;
    const factor = [8, 4, 2].find((each) => reducible && fits(each)) || 1;
    const canvas = document.createElement("canvas");
    const width = canvas.width = Math.ceil(bitmap.width / factor);
    const height = canvas.height = Math.ceil(bitmap.height / factor);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    const rgba = context.getImageData(0, 0, width, height).data;
    const rgb = new Uint8Array(width * height * 3);
    for (let from = 0, to = 0; from < rgba.length; from += 4) {
      rgb[to++] = rgba[from]; rgb[to++] = rgba[from + 1]; rgb[to++] = rgba[from + 2];
    }
    return { rgb, width, height };
  }

  function element(kind, text, name) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  /** The classes in order, those of the prediction set, and whether the image looks like none of them. */
  function decide(probabilities, score) {
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const rule = metadata.prediction_sets;
    const members = rule && order.filter((index, rank) => rank === 0 || 1 - probabilities[index] <= rule.threshold);
    return { order, members, none: score !== undefined && score > metadata.ood_threshold };
  }

  function show(blob, name, probabilities, score) {
    const { order, members, none } = decide(probabilities, score);
    const card = element("article"), picture = element("img"), told = element("div");
    picture.src = URL.createObjectURL(blob);
    picture.alt = name;
    told.append(element("h2", name));
    if (none) told.append(element("p", "This looks like none of these classes.", "none"));
    const bars = element("ol");
    for (const index of order.slice(0, TOP)) {
      const percent = `${(100 * probabilities[index]).toFixed(1)} %`;
      const row = element("div", undefined, "row"), track = element("div", undefined, "track"), bar = element("i");
      row.append(element("span", metadata.classes[index]), element("span", percent));
      bar.style.width = `${100 * probabilities[index]}%`;
      track.append(bar);
      const item = element("li");
      item.append(row, track);
      bars.append(item);
    }
    told.append(bars);
    if (members) {
      const names = members.slice(0, 10).map((index) => metadata.classes[index]).join(", ");
      const more = members.length > 10 ? ` and ${members.length - 10} more` : "";
      const share = Math.round(100 * metadata.prediction_sets.coverage);
      told.append(element("p", `${share} % set: ${names}${more}`));
    }
    card.append(picture, told);
    card.dataset.top = metadata.classes[order[0]];
    card.dataset.probability = probabilities[order[0]];
    results.prepend(card);
  }

  const loading = load();
  let queue = loading;  // one image after the other
  function classify(blobs) {
    for (const [blob, name] of blobs) {
      queue = queue.then(async () => {
        const { ort, session } = await loading;
        say(`Looking at ${name} …`);
        try {
          const { rgb, width, height } = await pixelsOf(blob);
          const start = performance.now();
          const found = await session.run({ images: new ort.Tensor("uint8", rgb, [1, height, width, 3]) });
          show(blob, name, found.probabilities.data, found.ood_score && found.ood_score.data[0]);
          say(`${name}: ${(performance.now() - start).toFixed(0)} ms`);
        } catch (failure) {
          say(`${name}: this is no image that the browser can read`);
        }
      }).catch(() => {});
    }
  }
  const named = (files) => [...files].map((file) => [file, file.name || "pasted image"]);

  find("file").addEventListener("change", (event) => { classify(named(event.target.files)); event.target.value = ""; });
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    classify(named(event.dataTransfer.files));
  });
  addEventListener("paste", (event) => classify(named(event.clipboardData.files)));

  const camera = find("camera"), live = find("live"), video = find("video");
  const close = () => {
    for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
    video.srcObject = null;
    live.hidden = true;
    camera.hidden = false;
    camera.focus();  // the button that had it is gone
  };
  if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) camera.hidden = false;
  camera.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await video.play();
      live.hidden = false;
      camera.hidden = true;
      find("shoot").focus();
    } catch (failure) {
      say("The camera cannot be used here; choose an image instead.");
    }
  });
  find("stop").addEventListener("click", close);
  find("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => classify([[blob, "camera"]]), "image/png");
  });

  try {
    await loading;
    say("Ready.");
    document.body.dataset.ready = "yes";
  } catch (failure) {
    say(`The network cannot run in this browser (${failure.message}). Use a recent version of Chrome, Edge, Firefox or Safari.`);
  }
})();
