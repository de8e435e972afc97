// Runs on the audio thread: mixes the microphone to mono and hands out s16le pieces of 100 ms with their peak and when
// each was whole.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 10);
    this.piece = new Int16Array(this.size);
    this.filled = 0;
    this.peak = 0;
    this.port.onmessage = () => { this.flush(); this.port.postMessage({ flushed: true }); };
  }

  process([channels]) {
    const count = channels.length ? channels[0].length : 0;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const sample = Math.max(-1, Math.min(1, sum / channels.length));
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.piece[this.filled++] = sample < 0 ? sample * 32768 : sample * 32767;
      if (this.filled === this.size) this.flush();
    }
    return true;
  }

  flush() {
    if (!this.filled) return;
    const pcm = this.piece.slice(0, this.filled).buffer;
    this.port.postMessage({ pcm, peak: this.peak, at: Date.now() }, [pcm]);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor("capture", Capture);
