import { tab } from "./memory.js";

// One WebSocket to /asr. It answers for itself: pings, and gives up on a server that answers nothing.
const PING_MS = 2000;
const SILENT_MS = 10000;
const DEAD = 4000;        // closes a connection that is given up: with 1000 the session would be over

// Refusals after which coming back helps.
export const LATER = ["over_capacity", "too_many_sessions", "too_many_files", "not_ready"];

export class Connection {
  #socket;
  #told = null;
  #timer;
  #asked = performance.now();   // what has not been answered since; null when all was
  #unsent = 0;
  #over = false;

  // `on` has ready(config), update(message), pong(id), warned(error): something was refused, and the stream goes on; ended(): all is said;
  // lost({error}): it closed before that; `error` is the server's error message, or null. `session`: the id of one to go on with.
  constructor(query, token, on, session = null) {
    const secrets = [...(token ? [`wlk.token.${base64url(token)}`] : []), ...(session ? [`wlk.resume.${session}`] : [])];
    this.#socket = secrets.length ? new WebSocket(address(query), ["wlk", ...secrets]) : new WebSocket(address(query));
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data), on);
    this.#socket.onclose = () => this.#gone(on);
    this.#timer = setInterval(() => this.#check(on), PING_MS);
  }

  get open() { return this.#socket.readyState === WebSocket.OPEN; }

  get unsentBytes() { return this.#socket.bufferedAmount; }

  send(data) { if (this.open) this.#socket.send(data); }

  control(message) { this.send(JSON.stringify(message)); }

  // No more audio: the rest of the text comes, then on.ended.
  finish() { this.send(new ArrayBuffer(0)); }

  // Nothing more is wanted; no callback comes.
  close() {
    this.#end();
    this.#socket.close(1000);
  }

  #take(message, on) {
    this.#asked = null;
    if (this.#over) return;
    if (this.#told) on.warned?.(this.#told);
    this.#told = null;
    switch (message.type) {
      case "config": on.ready(message); break;
      case "pong": on.pong?.(message.id); break;
      case "error": this.#told = message; break;
      case "config_changed": break;
      case "ready_to_stop":
        if (message.reason) break;  // the server ended the stream, and its next message says why
        this.close();
        on.ended();
        break;
      default: on.update(message);
    }
  }

  #gone(on) {
    if (this.#over) return;
    this.#end();
    on.lost({ error: this.#told });
  }

  #check(on) {
    if (this.unsentBytes < this.#unsent) this.#asked = null;  // a slow network, not a dead one
    this.#unsent = this.unsentBytes;
    if (this.#asked !== null && performance.now() - this.#asked > SILENT_MS) {
      this.#socket.close(DEAD);
      this.#gone(on);
    } else {
      this.control({ type: "ping" });
      this.#asked ??= performance.now();
    }
  }

  #end() {
    this.#over = true;
    clearInterval(this.#timer);
  }
}

function address(query) {
  const url = new URL("asr", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = new URLSearchParams({ mode: "diff", words: "true", ...query });
  return url;
}

// Secrets go as subprotocols: an address would be kept in logs and histories.
function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

let unkept = "";

// Kept for the tab's life, never in the address.
export const token = {
  get value() { return unkept || tab.read("token") || ""; },
  set value(text) {
    unkept = text;
    tab.write("token", text);
  },
};
