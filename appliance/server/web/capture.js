// From a MediaStream to pieces for the socket: 16 kHz PCM by an AudioWorklet where there is one, else what MediaRecorder makes.
const RECORDER_MS = 250;
const LEVEL_MS = 100;
const START_MS = 2000;
const FLUSH_MS = 1000;
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

// `on` has piece(data, seconds, how late it comes) and level(peak from 0 to 1). Pieces of what begins anew with each connection, as a
// recorder's do, can't be kept for the next one: `lasting` tells.
export async function capture(media, on) {
  if (globalThis.AudioWorkletNode) {
    // Where a browser can't resample the microphone itself, its own rate goes out and the server resamples.
    for (const options of [{ sampleRate: 16000 }, {}]) {
      const context = new AudioContext(options);
      const worklet = new Worklet(context, on);
      try {
        return await worklet.open(media);
      } catch (error) {
        console.info(`no AudioWorklet at ${context.sampleRate} Hz: ${error.message}`);
        await worklet.close();
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
  #wake = () => this.#resume();
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
      // Pieces that were whole while the page stood still come all at once.
      const late = Math.max(0, Date.now() - data.at) / 1000;
      this.#on.piece(data.pcm, data.pcm.byteLength / this.bytesPerSecond, late);
    };
    source.connect(this.#node);
    // A call, a locked screen or another tab may stop all sound here, and nothing but this starts it again.
    this.#context.onstatechange = this.#wake;
    document.addEventListener("visibilitychange", this.#wake);
    // A browser that lets no sound begin, or finds no sound card, never answers; its MediaRecorder still works.
    await Promise.race([this.#context.resume(), new Promise((resolve) => { setTimeout(resolve, START_MS); })]);
    if (this.#context.state !== "running") throw new Error("it does not start");
    return this;
  }

  #resume() {
    if (!["running", "closed"].includes(this.#context.state)) this.#context.resume().catch(() => {});
  }

  // Pieces flow all the time; who takes them knows what to keep.
  begin() {}

  halt() {}

  pause() { this.#paused = true; }

  resume() { this.#paused = false; }

  // Resolves when the last piece was given out, or none comes.
  flush() {
    return new Promise((resolve) => {
      this.#flushed = resolve;
      this.#node.port.postMessage("flush");
      setTimeout(resolve, FLUSH_MS);
    });
  }

  close() {
    this.#context.onstatechange = null;
    document.removeEventListener("visibilitychange", this.#wake);
    return this.#context.close();
  }
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
