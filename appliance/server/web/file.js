// A file through the same socket, as fast as the server hears it; or in one piece, where that can't be.
import { StreamClock } from "./clock.js";
import { Connection, LATER, token } from "./connection.js";
import { indexMayBeLast, snapshot, upload } from "./upload.js";

const PIECES = 100;
const SMALLEST = 4096;
const LARGEST = 65536;
const AHEAD = 4;           // pieces that may be under way: the server answers a ping when it has taken what came before
const MOST_LAG_S = 20;

export class FileJob {
  active = false;
  lag = 0;                 // null where nothing tells
  #page;
  #cancelled = new AbortController();
  #over = true;            // of one connection
  #taken = 0;              // pieces that the server has
  #wake = () => {};

  // `page` has state(name), configured(the server's first message), open(clock), update(message), close(), waiting(error), refused(error),
  // progress(share of the bytes, or null where nothing tells), query().
  constructor(page) { this.#page = page; }

  // The text begins at second `from` of the session. Resolves when all is said, refused or cancelled.
  async run(file, from) {
    this.active = true;
    this.#cancelled = new AbortController();
    let failure = null, whole = false, again = true;
    try {
      while (again) {
        failure = whole ? await this.#whole(file) : await this.#stream(file, from);
        if (failure?.code === "unsupported_audio" && !whole && await indexMayBeLast(file)) whole = true;
        else again = LATER.includes(failure?.code) && await this.#later(failure);
      }
    } finally {
      if (!this.active) failure = null;  // cancelled: nobody asks any more
      this.active = false;
      this.#page.close();
      this.#page.state("idle");
    }
    if (failure) this.#page.refused(failure);
  }

  cancel() {
    this.active = false;
    this.#over = true;
    this.#cancelled.abort();
    this.#wake();
  }

  // Resolves with what went wrong, or null.
  async #stream(file, from) {
    let ready = false, failure = null;
    const end = () => { this.#over = true; this.#wake(); };
    this.#over = false;
    this.#taken = this.lag = 0;
    this.#page.state("connecting");
    this.#page.progress(0);
    const connection = new Connection({ format: "auto", ...this.#page.query() }, token.value, {
      ready: (config) => {
        ready = true;
        this.#page.configured(config);
        this.#page.open(new StreamClock(from));
        this.#page.state("file");
        this.#wake();
      },
      update: (message) => {
        this.lag = message.remaining_time_transcription || 0;
        this.#page.update(message);
        this.#wake();
      },
      pong: (id) => { if (id !== undefined) { this.#taken = id; this.#wake(); } },
      ended: end,
      lost: ({ error }) => { failure = error && error.code !== "restarting" ? error : { code: "lost" }; end(); },
    });
    try {
      await this.#until(() => ready);
      await this.#send(file, connection);
      await this.#until(() => false);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      failure = { code: "unreadable" };
    } finally {
      connection.close();
    }
    return failure;
  }

  async #send(file, connection) {
    const size = Math.min(LARGEST, Math.max(SMALLEST, Math.ceil(file.size / PIECES)));
    const pieces = Math.ceil(file.size / size);
    for (let sent = 0; sent < pieces && !this.#over; sent++) {
      await this.#until(() => sent - this.#taken < AHEAD && this.lag < MOST_LAG_S);
      connection.send(await file.slice(sent * size, (sent + 1) * size).arrayBuffer());
      connection.control({ type: "ping", id: sent + 1 });
      this.#page.progress(this.#taken / pieces);
    }
    await this.#until(() => this.#taken >= pieces);
    if (this.#over) return;
    this.#page.progress(1);
    connection.finish();
  }

  // As #stream. The text comes in one piece too.
  async #whole(file) {
    this.lag = null;
    this.#page.state("sending");
    const { answer, failure } = await upload(file, this.#page.query().language, token.value, this.#cancelled.signal, {
      progress: (share) => this.#page.progress(share),
      sent: () => { this.#page.progress(null); this.#page.state("file"); },
    });
    if (answer) this.#page.update(snapshot(answer));
    return failure ?? null;
  }

  // Whether it may be tried again: false where it was cancelled meanwhile.
  async #later(failure) {
    this.#page.waiting(failure);
    this.#over = false;
    let due = false;
    setTimeout(() => { due = true; this.#wake(); }, (failure.retry_after_s ?? 5) * 1000);
    await this.#until(() => due);
    return this.active;
  }

  // Wait for what is wanted; also ends when nothing is wanted any more.
  async #until(done) {
    while (!this.#over && !done()) await new Promise((resolve) => { this.#wake = resolve; });
  }
}
