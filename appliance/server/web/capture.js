// From a MediaStream to pieces for the socket: 16 kHz PCM by an AudioWorklet where there is one, else what MediaRecorder makes.
const RECORDER_MS = 250;
const LEVEL_MS = 100;
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

// `on` has piece(data, seconds) and level(peak from 0 to 1). Pieces of what begins anew with each connection, as a
// recorder's do, can't be kept for the next one: `lasting` tells.
export async function capture(media, on) {
  if (globalThis.AudioWorkletNode) {
    // Where a browser can't resample the microphone itself, its own rate goes out and the server resamples.
    for (const options of [{ sampleRate: 16000 }, {}]) {
      const context = new AudioContext(options);
      try {
        return await new Worklet(context, on).open(media);
      } catch (error) {
        console.info(`no AudioWorklet at ${context.sampleRate} Hz: ${error.message}`);
        await context.close();
      }
    }
  }
  return new Recorder(media, on);
}

class Worklet {
  #context;
  #node;
  #on;
  #paused = false;
  #flushed = null;
  lasting = true;

  constructor(context, on) {
    this.#context = context;
    this.#on = on;
    this.query = { format: "s16le", rate: context.sampleRate };
    this.bytesPerSecond = 2 * context.sampleRate;
  }

  async open(media) {
    const source = this.#context.createMediaStreamSource(media);
    await this.#context.audioWorklet.addModule("worklet.js");
    this.#node = new AudioWorkletNode(this.#context, "capture", { numberOfOutputs: 0 });
    this.#node.port.onmessage = ({ data }) => {
      if (data.flushed) { this.#flushed?.(); return; }
      if (this.#paused) return;
      this.#on.level(data.peak);
      this.#on.piece(data.pcm, data.pcm.byteLength / this.bytesPerSecond);
    };
    source.connect(this.#node);
    await this.#context.resume();
    return this;
  }

  // Pieces flow all the time; who takes them knows what to keep.
  begin() {}

  halt() {}

  pause() { this.#paused = true; }

  resume() { this.#paused = false; }

  // Resolves when the last piece was given out.
  flush() {
    return new Promise((resolve) => {
      this.#flushed = resolve;
      this.#node.port.postMessage("flush");
    });
  }

  close() { this.#context.close(); }
}

class Recorder {
  #media;
  #on;
  #recorder = null;
  #since = 0;
  #context = new AudioContext();
  #timer;
  lasting = false;

  constructor(media, on) {
    this.#media = new MediaStream(media.getAudioTracks());
    this.#on = on;
    this.query = { format: "auto" };
    this.bytesPerSecond = 4000;
    const analyser = new AnalyserNode(this.#context, { fftSize: 2048 });
    this.#context.createMediaStreamSource(this.#media).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      on.level(samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0));
    }, LEVEL_MS);
  }

  // A stream begins with a header, so each connection gets a recorder of its own.
  begin() {
    this.halt();
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(this.#media, { ...(mimeType && { mimeType }), audioBitsPerSecond: 32000 });
    this.#recorder.ondataavailable = ({ data }) => {
      const now = performance.now();
      if (data.size) this.#on.piece(data, (now - this.#since) / 1000);
      this.#since = now;
    };
    this.#recorder.start(RECORDER_MS);
    this.#since = performance.now();
  }

  halt() {
    if (!this.#recorder) return;
    this.#recorder.ondataavailable = null;
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    this.#recorder = null;
  }

  pause() {
    if (this.#recorder?.state !== "recording") return;
    this.#recorder.requestData();
    this.#recorder.pause();
  }

  resume() {
    if (this.#recorder?.state !== "paused") return;
    this.#recorder.resume();
    this.#since = performance.now();
  }

  flush() {
    const recorder = this.#recorder;
    if (!recorder || recorder.state === "inactive") return Promise.resolve();
    return new Promise((resolve) => {
      recorder.onstop = resolve;
      recorder.stop();
    });
  }

  close() {
    this.halt();
    clearInterval(this.#timer);
    this.#context.close();
  }
}
