// The transcript on the page. An update touches the changed lines only; lines stand in blocks, and the browser lays out
// and paints those blocks only that are in sight.
import { say } from "./say.js";
import { nameButton, showName } from "./speakers.js";
import { shortTime } from "./transcript.js";

const BLOCK_LINES = 40;
const ANNOUNCE_MS = 1500;
const ANNOUNCED = 4;
const SHORT_GAP_S = 1;

export class View {
  #box;
  #list;
  #home;
  #waiting;
  #tentative;
  #translationHome;
  #guess;
  #speakers;
  #renamed;
  #shown = [];             // {element, text, said, translated, button, look} of each entry
  #atEnd = true;

  // `box` scrolls; `list` takes the blocks; `home` is where text stands that belongs to no line yet: `waiting` for its
  // speaker, or tentative; `guess` is a translation of that, in `translationHome`.
  constructor({ box, list, home, waiting, tentative, translationHome, guess, end }, speakers, renamed) {
    [this.#box, this.#list, this.#home, this.#speakers] = [box, list, home, speakers];
    [this.#waiting, this.#tentative, this.#renamed] = [waiting, tentative, renamed];
    [this.#translationHome, this.#guess] = [translationHome, guess];
    new IntersectionObserver(([entry]) => { this.#atEnd = entry.isIntersecting; }, { root: box, rootMargin: "0px 0px 120px" }).observe(end);
  }

  // Entries from index `from` on have changed.
  show(transcript, from) {
    const { entries, tentative, waiting, guess } = transcript;
    for (const { element } of this.#shown.splice(entries.length)) this.#remove(element);
    for (let at = from; at < entries.length; at++) {
      const begins = beginsToSpeak(entries, at);
      const look = JSON.stringify(lookOf(entries[at], begins));
      const shown = this.#shown[at];
      if (shown?.look !== look) {
        this.#shown[at] = { ...this.#made(entries[at], begins), look };
        if (shown) shown.element.replaceWith(this.#shown[at].element);
        else this.#block().append(this.#shown[at].element);
      }
      this.#fill(this.#shown[at], entries[at]);
    }
    const growing = transcript.growing ? this.#shown.at(-1) : { said: this.#home, translated: this.#translationHome };
    if (this.#tentative.parentNode !== growing.said) growing.said.append(this.#waiting, this.#tentative);
    if (this.#guess.parentNode !== growing.translated) growing.translated.append(this.#guess);
    if (this.#guess.textContent !== guess) this.#guess.textContent = guess;
    if (this.#waiting.textContent !== waiting) this.#waiting.textContent = waiting;
    if (this.#tentative.textContent !== tentative) this.#tentative.textContent = tentative;
    if (this.#atEnd) this.#box.scrollTop = this.#box.scrollHeight;
  }

  clear() {
    this.#home.append(this.#waiting, this.#tentative);
    this.#translationHome.append(this.#guess);
    this.#list.replaceChildren();
    this.#shown = [];
  }

  // A name or the page's language has changed; `who` is undefined for all.
  showNames(who) {
    for (const shown of this.#shown) if (shown.button && (who === undefined || shown.who === who)) showName(shown.button, this.#speakers, shown.who);
  }

  #block() {
    const last = this.#list.lastElementChild;
    if (last && last.childElementCount < BLOCK_LINES) return last;
    const block = document.createElement("div");
    block.className = "block";
    this.#list.append(block);
    return block;
  }

  #remove(element) {
    const block = element.parentNode;
    element.remove();
    if (!block.childElementCount) block.remove();
  }

  #made(entry, begins) {
    const element = document.createElement(entry.kind === "line" ? "div" : "p");
    if (entry.kind !== "line") {
      element.className = "aside";
      element.dataset.kind = entry.kind;
      element.hidden = entry.kind === "hidden";
      return { element, text: null };
    }
    element.className = entry.unsure ? "line unsure" : "line";
    element.dataset.tone = this.#speakers.tone(entry.speaker);
    const time = document.createElement("time");
    time.textContent = shortTime(entry.start);
    element.append(time);
    const button = begins ? nameButton(this.#speakers, entry.who, (who) => { this.showNames(who); this.#renamed(); }) : null;
    if (button) element.append(button);
    const said = document.createElement("p");
    said.className = "said";
    said.dir = "auto";
    said.lang = entry.language ?? "";
    const text = document.createTextNode("");
    said.append(text);
    const translated = document.createElement("p");
    translated.className = "translated";
    translated.dir = "auto";
    translated.lang = (entry.target ?? "").replace("_", "-");
    translated.append(document.createTextNode(""));
    element.append(said, translated);
    return { element, text, said, translated, button, who: entry.who };
  }

  #fill({ element, text, translated }, entry) {
    const translation = entry.translation ?? "";
    if (translated && translated.firstChild.data !== translation) translated.firstChild.data = translation;
    if (!text) {
      const words = aside(entry);
      if (element.textContent !== words) element.textContent = words;
    } else if (entry.text.startsWith(text.data)) {
      if (entry.text.length > text.data.length) text.appendData(entry.text.slice(text.data.length));
    } else {
      text.data = entry.text;
    }
  }
}

// Whether another one spoke before that line: then it has a name.
function beginsToSpeak(entries, at) {
  const before = entries[at - 1]?.kind === "silence" ? entries[at - 2] : entries[at - 1];
  return before?.kind !== "line" || before.who !== entries[at].who;
}

// All of an entry that is shown but its text, which may grow.
function lookOf({ kind, speaker, who, start, unsure }, begins) {
  return kind === "line" ? [speaker, who, shortTime(start), Boolean(unsure), begins] : [kind];
}

function aside(entry) {
  const lasted = shortTime(entry.end - entry.start);
  if (entry.kind === "hidden") return "";
  if (entry.kind === "file") return say("file_line", { name: entry.name });
  if (entry.kind === "gap") return say(entry.end - entry.start < SHORT_GAP_S ? "break_line" : "gap_line", { lasted });
  return say("silence_line", { lasted });
}

// Tells a screen reader new committed text, in pieces that can be followed; nothing else on the page is announced from here.
export class Announcer {
  #element;
  #waiting = [];
  #language = "";
  #timer = 0;

  constructor(element) { this.#element = element; }

  add(text, language = "") {
    if (!text) return;
    this.#language = language;
    this.#waiting.push(text);
    this.#timer ||= setTimeout(() => this.#tell(), ANNOUNCE_MS);
  }

  #tell() {
    this.#timer = 0;
    const told = document.createElement("p");
    told.lang = this.#language;
    told.textContent = this.#waiting.splice(0).join(" ");
    this.#element.append(told);
    while (this.#element.childElementCount > ANNOUNCED) this.#element.firstChild.remove();
  }
}
