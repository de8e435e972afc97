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
  #tentative;
  #speakers;
  #renamed;
  #shown = [];             // {element, text} of each entry
  #atEnd = true;

  // `box` scrolls; `list` takes the blocks; `home` is where tentative text stands that belongs to no line yet.
  constructor({ box, list, home, tentative, end }, speakers, renamed) {
    [this.#box, this.#list, this.#home, this.#tentative, this.#speakers] = [box, list, home, tentative, speakers];
    this.#renamed = renamed;
    new IntersectionObserver(([entry]) => { this.#atEnd = entry.isIntersecting; }, { root: box, rootMargin: "0px 0px 120px" }).observe(end);
  }

  // Entries from index `from` on have changed.
  show(transcript, from) {
    const { entries, tentative } = transcript;
    for (let at = from; at < entries.length; at++) {
      this.#shown[at] ??= this.#add(entries, at);
      this.#fill(this.#shown[at], entries[at]);
    }
    const place = transcript.growing ? this.#shown.at(-1).element.lastChild : this.#home;
    if (this.#tentative.parentNode !== place) place.append(this.#tentative);
    if (this.#tentative.textContent !== tentative) this.#tentative.textContent = tentative;
    if (this.#atEnd) this.#box.scrollTop = this.#box.scrollHeight;
  }

  clear() {
    this.#home.append(this.#tentative);
    this.#list.replaceChildren();
    this.#shown = [];
  }

  // A name or the page's language has changed; `speaker` is undefined for all.
  showNames(speaker) {
    const which = speaker === undefined ? "button.who" : `button.who[data-speaker="${speaker}"]`;
    for (const button of this.#list.querySelectorAll(which)) showName(button, this.#speakers, Number(button.dataset.speaker));
  }

  #add(entries, at) {
    let block = this.#list.lastElementChild;
    if (!block || block.childElementCount >= BLOCK_LINES) {
      block = document.createElement("div");
      block.className = "block";
      this.#list.append(block);
    }
    const entry = entries[at];
    const element = document.createElement(entry.kind === "line" ? "div" : "p");
    block.append(element);
    if (entry.kind !== "line") {
      element.className = "aside";
      element.dataset.kind = entry.kind;
      return { element, text: null };
    }
    element.className = entry.unsure ? "line unsure" : "line";
    element.dataset.tone = this.#speakers.tone(entry.speaker);
    const time = document.createElement("time");
    time.textContent = shortTime(entry.start);
    element.append(time);
    const before = entries[at - 1]?.kind === "silence" ? entries[at - 2] : entries[at - 1];
    if (before?.kind !== "line" || before.speaker !== entry.speaker) {
      element.append(nameButton(this.#speakers, entry.speaker, (speaker) => { this.showNames(speaker); this.#renamed(); }));
    }
    const said = document.createElement("p");
    said.className = "said";
    said.dir = "auto";
    said.lang = entry.language ?? "";
    const text = document.createTextNode("");
    said.append(text);
    element.append(said);
    return { element, text };
  }

  #fill({ element, text }, entry) {
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

function aside(entry) {
  const lasted = shortTime(entry.end - entry.start);
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
