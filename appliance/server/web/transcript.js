// The client side of mode=diff: keeps the lines of one stream, as the server has them.
export class Stream {
  lines = [];
  pruned = 0;
  tentative = "";

  // Returns the index (within all lines ever) from which lines changed, or null for other messages.
  apply(message) {
    let changed;
    if (message.type === "snapshot") {
      this.lines = message.lines;
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
    return changed;
  }
}

export const SILENCE = -2;
const HEARING_S = 1;  // from a first word to its text, about

// All that was said in the page's life: streams one after another, with times of the session (seconds).
// Work per update is that of its changed lines, however long the transcript is.
export class Transcript {
  entries = [];        // {kind: "line", speaker, text, start, end, words, language, unsure}, {kind: "silence" | "gap", start, end}, {kind: "file", name, start, end}
  tentative = "";
  wordCount = 0;
  until = 0;           // where firm text ends
  #stream = null;
  #clock = null;
  #since = 0;          // when the tentative text began, about
  #base = 0;           // the entry that line 0 of the stream is, or would be
  #hiddenWords = 0;    // of entry 0: said before the page was cleared

  // The line that a stream adds to now; its tentative text stands behind it. Undefined where there is none yet.
  get growing() {
    const last = this.entries.at(-1);
    return this.#stream && this.entries.length > this.#base && last?.kind === "line" ? last : undefined;
  }

  // A new stream continues below. `clock` has at(seconds of the stream): seconds of the session, and length: the seconds that it has.
  open(clock) {
    this.close();
    this.#stream = new Stream();
    this.#clock = clock;
    this.#base = this.entries.length;
    this.#hiddenWords = 0;
  }

  // Returns {from, added}: the first changed entry and the newly committed text; null where the message is no update.
  apply(message) {
    const changed = this.#stream?.apply(message) ?? null;
    if (changed === null) return null;
    const { lines, pruned, tentative } = this.#stream;
    if (!this.entries.length && this.#base + changed > 0) this.#cleared(changed);  // the line before has ended
    const added = [];
    for (let i = Math.max(changed, -this.#base); i < pruned + lines.length; i++) added.push(this.#put(this.#base + i, lines[i - pruned]));
    if (tentative && !this.tentative) this.#since = this.#now - (message.remaining_time_transcription ?? 0) - HEARING_S;
    this.tentative = tentative;
    return { from: Math.max(0, this.#base + changed), added: added.filter(Boolean).join(" ") };
  }

  // The stream has ended. What was tentative goes where its sound, from second `again` of the session on, is heard again;
  // else it stays, marked as unsure: nobody will say whether it was right.
  close(again = Infinity) {
    if (!this.#stream) return;
    const text = this.tentative;
    this.tentative = "";
    const start = Math.max(this.until, this.#since);
    const end = Math.max(start, this.#now);
    if (text && again > start) this.#push({ kind: "line", speaker: this.#lastSpeaker(), text, start, end, words: [], unsure: true });
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
    this.#cleared(stream.pruned + Math.max(0, stream.lines.length - 1), stream.lines.at(-1)?.words?.length);
  }

  // Entry 0 is that line of the stream from now on.
  #cleared(line, hiddenWords = 0) {
    this.#base = -line;
    this.#hiddenWords = hiddenWords;
  }

  #lastSpeaker() {
    return this.entries.findLast((entry) => entry.kind === "line")?.speaker ?? 1;
  }

  #push(entry) {
    this.entries.push(entry);
    this.until = Math.max(this.until, entry.end);
    this.wordCount += countWords(entry.text);
  }

  // Returns the text that this adds.
  #put(at, line) {
    const before = this.entries[at];
    const entry = this.#entry(line, at === 0 ? this.#hiddenWords : 0);
    this.entries[at] = entry;
    this.until = Math.max(this.until, entry.end);
    this.wordCount += countWords(entry.text) - countWords(before?.text);
    const old = before?.text ?? "";
    return entry.kind === "line" && entry.text.startsWith(old) ? entry.text.slice(old.length).trim() : "";
  }

  #entry(line, hidden) {
    const start = this.#clock.at(seconds(line.start));
    const end = Math.max(start, this.#clock.at(seconds(line.end)));
    if (line.speaker === SILENCE) return { kind: "silence", start, end };
    const shown = (line.words ?? []).slice(hidden);
    const words = shown.map((word) => ({ ...word, start: this.#clock.at(word.start), end: this.#clock.at(word.end) }));
    const text = hidden ? shown.map((word) => word.text).join("").trim() : line.text;
    return {
      kind: "line", speaker: line.speaker, text, start: hidden && words.length ? words[0].start : start, end, words,
      language: line.detected_language,
    };
  }
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
