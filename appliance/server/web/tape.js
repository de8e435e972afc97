// The last minute of what was said: a connection may die with sound that it took and nobody heard.
const KEPT_S = 60;

export class Tape {
  #pieces = [];      // {data, length, time}: seconds, and the second of the session at which it began
  #length = 0;

  add(piece) {
    this.#pieces.push(piece);
    this.#length += piece.length;
    while (this.#length > KEPT_S) this.#length -= this.#pieces.shift().length;
  }

  // The pieces that begin after second `time` of the session. Not the one in which a word ends there: times of words are
  // a little early, and what is left of one may be heard as the same word again.
  since(time) { return this.#pieces.filter((piece) => piece.time >= time); }

  clear() {
    this.#pieces = [];
    this.#length = 0;
  }
}
