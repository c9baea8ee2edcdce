// The camera of this device, as JPEGs.

import { element } from "./dom.js";

const SIDE = 640; // pixels of the longer side

export class Camera {
  constructor() {
    this.video = element("video", { class: "camera-view", playsinline: true, muted: true, "aria-label": "What the camera sees" });
    this.video.muted = true;
    this.canvas = document.createElement("canvas");
  }

  /** Ask for the camera; throws an error that says why there is none. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers give the camera to pages of this machine or with HTTPS only: open the studio as http://127.0.0.1 or http://localhost");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false });
    } catch (failure) {
      const reasons = { NotAllowedError: "the browser was not allowed to use the camera", NotFoundError: "there is no camera", NotReadableError: "another program uses the camera" };
      throw new Error(reasons[failure.name] ?? `the camera cannot be opened: ${failure.message}`);
    }
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  get running() {
    return Boolean(this.stream);
  }

  /** What the camera sees now, as a JPEG. */
  photograph(side = SIDE) {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, side / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", 0.9));
  }
}
