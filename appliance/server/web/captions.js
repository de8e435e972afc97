// The last lines, large, over the whole screen: for a projector.
import { choices } from "./memory.js";
import { say } from "./say.js";

const LINES = 3;
const CHARS = 600;
const SIZES = [3, 4, 5, 6, 7.5, 9, 11, 13];   // percent of the window's width
const USUAL = 3;

export class Captions {
  #ui;
  #speakers;
  #size = Math.min(Math.max(Number(choices.read("caption-size") ?? USUAL), 0), SIZES.length - 1) || 0;
  #opener = null;
  #idle = 0;

  // `ui` has dialog, lines, smaller, larger, close, size.
  constructor(ui, speakers, opened) {
    this.#ui = ui;
    this.#speakers = speakers;
    ui.smaller.addEventListener("click", () => this.#resize(-1));
    ui.larger.addEventListener("click", () => this.#resize(1));
    ui.close.addEventListener("click", () => ui.dialog.close());
    ui.dialog.addEventListener("close", () => this.#closed());
    ui.dialog.addEventListener("keydown", (event) => this.#key(event));
    ui.dialog.addEventListener("pointermove", () => this.#stir());
    ui.dialog.addEventListener("focusin", () => this.#stir());
    document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement && ui.dialog.open) ui.dialog.close(); });
    this.opened = opened;
  }

  get open() { return this.#ui.dialog.open; }

  async show() {
    this.#opener = document.activeElement;
    this.#ui.dialog.showModal();
    this.#resize(0);
    this.#stir();
    this.opened();
    try {
      await document.documentElement.requestFullscreen();
    } catch {
      // Not allowed here: then the captions fill the window.
    }
  }

  update({ entries, tentative, waiting, guess }) {
    if (!this.open) return;
    const last = [];
    for (let at = entries.length - 1; at >= 0 && last.length < LINES; at--) if (entries[at].kind === "line" && entries[at].text) last.unshift(entries[at]);
    const coming = [waiting, tentative].filter(Boolean).join(" ");
    if (!last.length && coming) last.push({ speaker: 1, who: 1, text: "" });
    const many = new Set(last.map((line) => line.who)).size > 1 || this.#speakers.anyGiven;
    this.#ui.lines.replaceChildren(...last.map((line, at) => this.#line(line, many, ...(at === last.length - 1 ? [coming, guess] : ["", ""]))));
    if (!last.length) this.#ui.lines.textContent = say("captions_empty");
  }

  #line(line, named, tentative, guess) {
    const element = document.createElement("p");
    element.dataset.tone = this.#speakers.tone(line.speaker);
    element.dir = "auto";
    element.lang = line.language ?? "";
    if (named) {
      const who = document.createElement("b");
      who.dir = "auto";
      who.textContent = this.#speakers.of(line.who);
      element.append(who, " ");
    }
    element.append(line.text.slice(-CHARS));
    if (tentative) {
      const unsure = document.createElement("span");
      unsure.className = "tentative";
      unsure.textContent = tentative;
      element.append(" ", unsure);
    }
    if (line.translation || guess) {
      const translated = document.createElement("span");
      translated.className = "translated";
      translated.dir = "auto";
      translated.append((line.translation ?? "").slice(-CHARS));
      if (guess) translated.append(" ", Object.assign(document.createElement("span"), { className: "tentative", textContent: guess }));
      element.append(translated);
    }
    return element;
  }

  #resize(step) {
    this.#size = Math.min(Math.max(this.#size + step, 0), SIZES.length - 1);
    choices.write("caption-size", String(this.#size));
    this.#ui.dialog.style.setProperty("--caption-size", `${SIZES[this.#size]}vw`);
    this.#ui.size.textContent = `${this.#size + 1} / ${SIZES.length}`;
  }

  #key(event) {
    this.#stir();
    if (event.key === "+" || event.key === "=") this.#resize(1);
    else if (event.key === "-" || event.key === "_") this.#resize(-1);
    else return;
    event.preventDefault();
  }

  // The buttons step back while nobody moves or presses a key.
  #stir() {
    this.#ui.dialog.classList.remove("idle");
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#ui.dialog.classList.add("idle"), 3000);
  }

  #closed() {
    clearTimeout(this.#idle);
    if (document.fullscreenElement) document.exitFullscreen();
    this.#opener?.focus();
  }
}
