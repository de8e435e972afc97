// The last minutes of what was said: a connection may die with sound that it took and nobody heard.
const KEPT_S = 60;
const MOST_S = 180;

export class Tape {
  #pieces = [];      // {data, length, time, at, second}: seconds, and the second of the session at which it began; where it was sent,
  #length = 0;       // the byte and the second of the stream at which it begins there
  #kept = KEPT_S;
  #torn = false;     // something went that was never sent

  // How long a session waits for its client: so much must be kept, and what was under way before.
  waits(seconds) { this.#kept = Math.min(MOST_S, Math.max(KEPT_S, seconds + KEPT_S / 2)); }

  add(piece) {
    this.#pieces.push(piece);
    this.#length += piece.length;
    while (this.#length > this.#kept) {
      const { length, at, left } = this.#pieces.shift();
      this.#length -= length;
      this.#torn ||= at === undefined && !left;
    }
  }

  // The pieces that begin after second `time` of the session. Not the one in which a word ends there: times of words are
  // a little early, and what is left of one may be heard as the same word again.
  since(time) { return this.#pieces.filter((piece) => piece.time >= time); }

  // The pieces that follow byte `at` of a stream of which `sent` bytes were sent, or null where some are missing.
  // What was left out on a slow network stays so.
  after(at, sent) {
    const first = this.#pieces.findIndex((piece) => piece.at >= at);
    if (this.#torn || (at !== sent && this.#pieces[first]?.at !== at)) return null;
    return this.#pieces.filter((piece, index) => (piece.at === undefined ? !piece.left : at !== sent && index >= first));
  }

  // A new stream begins, of which nothing was sent.
  rewind() {
    this.#torn = false;
    for (const piece of this.#pieces) piece.at = piece.second = piece.left = undefined;
  }

  clear() {
    this.#pieces = [];
    this.#length = 0;
    this.#torn = false;
  }
}
