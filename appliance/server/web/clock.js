// Time of the session: runs while something is recorded, goes on where it stopped.
export class SessionClock {
  #before = 0;
  #since = null;

  get elapsed() {
    return this.#before + (this.#since === null ? 0 : (performance.now() - this.#since) / 1000);
  }

  run() { this.#since ??= performance.now(); }

  stop() {
    this.#before = this.elapsed;
    this.#since = null;
  }

  // After a file: what follows comes after its end.
  atLeast(time) { if (this.#since === null) this.#before = Math.max(this.#before, time); }

  reset() {
    this.#before = 0;
    if (this.#since !== null) this.#since = performance.now();
  }
}

const SLIP_S = 0.3;
const MOST_ANCHORS = 1000;

// From seconds of one stream (of audio that was sent) to seconds of the session: what a pause left out is skipped.
export class StreamClock {
  length = 0;      // seconds of audio that went out
  #anchors = [];   // [second of the stream, second of the session]

  constructor(from = null) { if (from !== null) this.#anchors.push([0, from]); }

  // `duration` seconds of audio go out, the first of which was heard at about `time` of the session. Returns at which.
  sent(time, duration) {
    if (!this.#anchors.length || Math.abs(this.at(this.length) - time) > SLIP_S) {
      this.#anchors.push([this.length, time]);
      if (this.#anchors.length > MOST_ANCHORS) this.#anchors.shift();
    }
    const begun = this.at(this.length);
    this.length += duration;
    return begun;
  }

  // What follows goes out again, from this second of the stream on.
  rewind(second) {
    this.length = second;
    this.#anchors = this.#anchors.filter(([from], index) => index === 0 || from < second);
  }

  at(second) {
    const [stream, session] = this.#anchors.findLast(([from]) => from <= second) ?? this.#anchors[0] ?? [0, 0];
    return Math.max(0, session + second - stream);
  }
}
