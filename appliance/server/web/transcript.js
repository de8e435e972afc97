// The client side of mode=diff: keeps the lines of one stream, as the server has them.
export class Stream {
  lines = [];
  pruned = 0;
  tentative = "";
  waiting = "";
  guess = "";

  // Returns the index (within all lines ever) from which lines changed, or null for other messages.
  apply(message) {
    let changed;
    if (message.type === "snapshot") {
      this.lines = message.lines;
      this.pruned = message.lines_pruned ?? 0;  // of one that came back, what fell off before
      changed = this.pruned;
    } else if (message.type === "diff") {
      const dropped = message.lines_pruned || 0;
      this.lines.splice(0, dropped);
      this.pruned += dropped;
      this.lines.length = Math.min(this.lines.length, message.n_lines - message.new_lines.length);
      changed = this.pruned + this.lines.length;
      this.lines.push(...message.new_lines);
    } else {
      return null;
    }
    this.tentative = message.buffer_transcription || "";
    this.waiting = message.buffer_diarization || "";
    this.guess = message.buffer_translation || "";
    return changed;
  }
}

export const SILENCE = -2;
const HEARING_S = 1;  // from a first word to its text, about
const RECENT = 40;    // lines at the end whose speakers, and with them their words, may still change

// All that was said in the page's life: streams one after another, with times of the session (seconds).
// Work per update is that of its changed lines, however long the transcript is.
export class Transcript {
  entries = [];        // {kind: "line", speaker, who, text, start, end, words, language, translation, target, unsure}, {kind: "silence" | "gap", start, end}, {kind: "file", name, start, end}, {kind: "hidden"}
  tentative = "";
  waiting = "";        // firm text before it, whose speaker is not known yet
  guess = "";          // a translation of these, which may still change
  wordCount = 0;
  until = 0;           // where firm text ends
  #stream = null;
  #clock = null;
  #target = "";        // the language of translations
  #since = 0;          // when the tentative text began, about
  #base = 0;           // the entry that line 0 of the stream is, or would be
  #hiddenWords = 0;    // of the stream's lines from entry 0 on: said before the page was cleared

  // The line that a stream adds to now; its tentative text stands behind it. Undefined where there is none yet.
  get growing() {
    const last = this.entries.at(-1);
    return this.#stream && this.entries.length > this.#base && last?.kind === "line" ? last : undefined;
  }

  get isEmpty() { return !this.entries.some((entry) => entry.kind !== "hidden"); }

  // A new stream continues below. `clock` has at(seconds of the stream): seconds of the session, and length: the seconds that it has.
  // `target`: the code of the language that it is translated into, or none.
  open(clock, target = "") {
    this.close();
    this.#target = target;
    this.#stream = new Stream();
    this.#clock = clock;
    this.#base = this.entries.length;
    this.#hiddenWords = 0;
  }

  // Returns {from, added}: the first changed entry and the newly committed text; null where the message is no update.
  apply(message) {
    const changed = this.#stream?.apply(message) ?? null;
    if (changed === null) return null;
    const { lines, pruned, tentative, waiting, guess } = this.#stream;
    const first = Math.max(changed, -this.#base);
    const before = this.#cut(this.#base + first);
    const hidden = this.#hidden(lines, pruned);
    for (let i = first; i < pruned + lines.length; i++) this.#push(this.#entry(lines[i - pruned], hidden[this.#base + i] ?? 0));
    if ((tentative || waiting) && !(this.tentative || this.waiting)) this.#since = this.#now - (message.remaining_time_transcription ?? 0) - HEARING_S;
    [this.tentative, this.waiting, this.guess] = [tentative, waiting, guess];
    const from = this.#base + first;
    return { from, added: textAdded(before, this.#text(from)) };
  }

  // Takes the entries from there on away; returns their text.
  #cut(from) {
    const text = this.#text(from);
    for (const entry of this.entries.splice(from)) this.wordCount -= countWords(entry.text);
    return text;
  }

  #text(from) { return this.entries.slice(from).map((entry) => entry.text).filter(Boolean).join(" "); }

  // How many words are hidden of each line, from entry 0 on: the first ones, however the lines are cut by now.
  #hidden(lines, pruned) {
    const found = [];
    if (pruned > -this.#base) return found;
    for (let left = this.#hiddenWords, i = -this.#base - pruned; left > 0 && i < lines.length; i++) {
      found.push(Math.min(left, lines[i].words?.length ?? 0));
      left -= found.at(-1);
    }
    return found;
  }

  // The stream has ended. What was tentative goes where its sound, from second `again` of the session on, is heard again;
  // else it stays, marked as unsure: nobody will say whether it was right.
  close(again = Infinity) {
    if (!this.#stream) return;
    const text = [this.waiting, this.tentative].filter(Boolean).join(" ");
    const translated = { translation: this.guess, target: this.#target };
    this.tentative = this.waiting = this.guess = "";
    const start = Math.max(this.until, this.#since);
    const end = Math.max(start, this.#now);
    if (text && again > start) this.#push({ kind: "line", ...this.#lastSpeaker(), ...translated, text, start, end, words: [], unsure: true });
    this.#stream = null;
  }

  get #now() { return this.#clock.at(this.#clock.length); }

  // A line that tells of something else than speech.
  mark(entry) {
    this.#push(entry);
  }

  clear() {
    const stream = this.#stream;
    this.entries = [];
    this.wordCount = 0;
    if (!stream) {
      this.until = 0;
      return;
    }
    const first = Math.max(0, stream.lines.length - RECENT);
    const recent = stream.lines.slice(first);
    this.#base = -(stream.pruned + first);
    this.#hiddenWords = recent.reduce((sum, line) => sum + (line.words?.length ?? 0), 0);
    this.entries = recent.map((line) => this.#entry(line, line.words?.length ?? 0));
  }

  #lastSpeaker() {
    const { speaker = 1, who = 1 } = this.entries.findLast((entry) => entry.kind === "line") ?? {};
    return { speaker, who };
  }

  #push(entry) {
    this.entries.push(entry);
    this.until = Math.max(this.until, entry.end);
    this.wordCount += countWords(entry.text);
  }

  #entry(line, hidden) {
    const start = this.#clock.at(seconds(line.start));
    const end = Math.max(start, this.#clock.at(seconds(line.end)));
    if (line.speaker === SILENCE) return { kind: "silence", start, end };
    if (hidden && hidden >= line.words.length) return { kind: "hidden", start, end };
    const shown = (line.words ?? []).slice(hidden);
    const words = shown.map((word) => ({ ...word, start: this.#clock.at(word.start), end: this.#clock.at(word.end) }));
    const text = hidden ? shown.map((word) => word.text).join("").trim() : line.text;
    return {
      kind: "line", speaker: line.speaker, who: line.name ?? line.speaker, text, start: hidden && words.length ? words[0].start : start, end, words,
      language: line.detected_language, translation: line.translation ?? "", target: this.#target,
    };
  }
}

// What a text has more than before, where it begins with the same; spaces may stand elsewhere, as lines are cut.
export function textAdded(before, text) {
  const bare = (whole) => whole.replaceAll(/\s/g, "");
  const known = bare(before);
  if (!bare(text).startsWith(known)) return "";
  let at = 0;
  for (let left = known.length; left > 0; at++) if (/\S/.test(text[at])) left--;
  return text.slice(at).trim();
}

// "1:02:03.45" in seconds.
export function seconds(clock) {
  return clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

// 3723 as "1:02:03", 63 as "1:03".
export function shortTime(time) {
  const whole = Math.max(0, Math.floor(time));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// Words, or characters where a script has no spaces.
const WORD = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[^\s\p{P}\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}][^\s\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]*/gu;

export function countWords(text) {
  return text?.match(WORD)?.length ?? 0;
}
