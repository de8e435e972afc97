// What the page tells beside the text: its state as words and as the frame, the lag, and notices with what to do.
import { say } from "./say.js";

const FRAMES = {
  hello: "wait", loading: "wait", starting: "wait", connecting: "wait", finishing: "wait", full: "wait", sending: "wait",
  ready: "ready", live: "live", file: "live", paused: "paused",
  failed: "trouble", stopping: "trouble", unreachable: "trouble", waiting: "trouble", blocked: "trouble",
};
const LAG_MIDDLE_S = 3;
const LAG_LARGE_S = 8;

export class Panel {
  #ui;
  #state = "hello";
  #notice = null;
  #told = null;

  constructor(ui) { this.#ui = ui; }

  // A key of FRAMES; its words are state_* of words.js.
  state(name) {
    this.#state = name;
    document.body.dataset.frame = FRAMES[name];
    const text = say(`state_${name}`);
    this.#tell("status-text", text);
    this.#tell("captions-status", FRAMES[name] === "trouble" ? text : "");
  }

  // What is told again is spoken again.
  #tell(id, text) { if (this.#ui[id].textContent !== text) this.#ui[id].textContent = text; }

  // Seconds, or null where there is nothing to be late with.
  lag(seconds) {
    const word = seconds < LAG_MIDDLE_S ? "small" : seconds < LAG_LARGE_S ? "middle" : "large";
    const text = seconds === null ? "" : say("lag", { seconds: seconds.toFixed(1), word: say(`lag_${word}`) });
    if (this.#ui.lag.textContent === text) return;
    this.#ui.lag.textContent = text;
    this.#ui.lag.dataset.lag = seconds === null ? "none" : word;
  }

  // `key` names words with a hint; `links` are [address, words' key] or [address] alone.
  notice(key, places = {}, links = []) {
    const told = JSON.stringify([document.documentElement.lang, key, places, links]);
    if (this.#told === told) return;  // an alert that is filled anew is spoken anew
    this.#told = told;
    this.#notice = [key, places, links];
    this.#ui["notice-message"].textContent = say(key, places);
    this.#ui["notice-hint"].textContent = say(`${key}_hint`, places);
    this.#ui["notice-links"].replaceChildren(...links.map(([address, words]) => {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = words ? say(words) : address;
      return link;
    }));
    this.#ui.notice.hidden = false;
  }

  // The server's error message, in the reader's language where the page knows the code.
  error(error) {
    const key = `error_${error.code}`;
    this.notice(say(key) ? key : "server_error", { message: error.message, hint: error.hint });
  }

  // `key`: only if that is what it tells.
  quiet(key) {
    if (key && this.#notice?.[0] !== key) return;
    this.#notice = this.#told = null;
    this.#ui.notice.hidden = true;
  }

  // After the page's language changed.
  again() {
    this.state(this.#state);
    if (this.#notice) this.notice(...this.#notice);
  }
}
