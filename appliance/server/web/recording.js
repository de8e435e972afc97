// Live sound to live text: start, pause, stop, and going on after the connection was lost.
import { capture } from "./capture.js";
import { StreamClock } from "./clock.js";
import { Connection, LATER, token } from "./connection.js";
import { openSource } from "./sources.js";
import { Tape } from "./tape.js";

const RETRY_MS = [1000, 2000, 4000, 8000];
const ASK_S = 1;             // of sound between questions how much of it has arrived
const MAX_UNSENT_S = 120;
const SECOND_STOP_MS = 1000; // a double click is one
const DEAF_MS = 3000;        // pieces come at least four times a second
const COMING_BACK = [...LATER, "restarting", "idle_timeout", "unknown_session"];

export class Recording {
  state = "idle";          // starting, connecting, live, paused, waiting (for the server), finishing
  lag = 0;                 // seconds of sound that are not text yet
  #page;
  #session;
  #media = null;
  #cameAt = 0;             // when the last piece of sound did
  #capture = null;
  #connection = null;
  #ready = false;          // the server takes sound
  #clock = null;
  #tape = new Tape();
  #paused = false;
  #stoppedAt = null;
  #dropping = false;
  #attempts = 0;
  #heardTo = null;         // second of the session that a lost connection came to
  #resume = null;          // how the server has the session back: {id, window_s}; null where it does not
  #lostAt = 0;             // when it was lost
  #sent = 0;               // bytes of this stream
  #retry = 0;
  #asked = 0;              // seconds of the stream: the last question, and the last answer
  #answered = 0;
  #remaining = 0;

  // `page` has state(name, detail), configured(the server's first message), open(clock), update(message), close(again), until(), gap(start, end), level(peak),
  // slow(whether sound is left out), warned(error), quiet(), ended(source), refused(error), query(); `session` is the SessionClock.
  constructor(page, session) {
    this.#page = page;
    this.#session = session;
  }

  get active() { return this.state !== "idle"; }

  // Raises a SourceError; then nothing has begun.
  async start(source) {
    this.#set("starting");
    try {
      this.#media = await openSource(source);
      this.#capture = await capture(this.#media, { piece: (...piece) => this.#heard(...piece), level: (peak) => this.#page.level(peak) });
    } catch (error) {
      this.#release();
      this.#set("idle");
      throw error;
    }
    const [track] = this.#media.getAudioTracks();
    track.onended = () => {
      if (!this.active || this.#stoppedAt !== null) return;
      this.stop();
      this.#page.ended(source);  // a stop that gives up tells nothing any more
    };
    this.#paused = this.#dropping = false;
    this.#stoppedAt = this.#heardTo = this.#resume = null;
    this.#attempts = 0;
    this.#session.run();
    this.#set("connecting");
    this.#connect();
    if (track.readyState === "ended") track.onended();  // before anybody listened
  }

  // Whether no sound comes although it should: not silence, which is sound too.
  get deaf() { return this.state === "live" && performance.now() - this.#cameAt > DEAF_MS; }

  pause() {
    if (this.state !== "live") return;
    this.#paused = true;
    this.#capture.pause();
    this.#mute(true);
    this.#set("paused");
  }

  resume() {
    if (this.state !== "paused") return;
    this.#paused = false;
    this.#mute(false);
    this.#capture.resume();
    this.#set("live");
  }

  // What was said until now is still heard, on a new connection if need be; called again, that is given up.
  async stop() {
    if (["idle", "starting"].includes(this.state)) return;
    if (this.#stoppedAt !== null && performance.now() - this.#stoppedAt < SECOND_STOP_MS) return;
    if (this.#stoppedAt !== null || !(this.#ready || this.#comesBack())) {
      clearTimeout(this.#retry);
      this.#connection?.close();
      this.#page.quiet();
      this.#over();
      return;
    }
    this.#stoppedAt = performance.now();
    this.#set(this.#ready ? "finishing" : "waiting", { rest: true });
    const mine = this.#capture;
    await mine.flush();
    if (this.#capture !== mine) return;
    this.#release();
    if (this.#ready) this.#connection.finish();
  }

  changeLanguage(language) { if (this.#ready) this.#connection.control({ type: "config", language }); }

  #connect() {
    this.#ready = false;
    if (this.#resume && performance.now() - this.#lostAt > this.#resume.window_s * 1000) {
      this.#giveUp();
      if (!this.#capture.lasting) this.#wait(null);
    }
    if (!this.#wanted()) return;
    const id = this.#resume?.id;
    const mine = new Connection({ ...this.#capture.query, ...this.#page.query(), resume: true }, token.value, {
      ready: (config) => {
        if (mine !== this.#connection) return;
        this.#page.configured(config);
        if (id) this.#goOn(config); else this.#begin(config);
      },
      update: (message) => {
        this.#remaining = message.remaining_time_transcription || 0;
        this.#measure();
        this.#page.update(message);
      },
      pong: (id) => { if (id !== undefined) this.#answered = id; },
      warned: (error) => this.#page.warned(error),
      ended: () => this.#over(),
      lost: (how) => this.#lost(how),
    }, id);
    this.#connection = mine;
  }

  // A new stream. What the one before took with it is said again.
  #begin(config) {
    const kept = this.#tape.since(this.#heardTo === null ? 0 : this.#page.until());
    if (this.#heardTo !== null) {
      const from = kept[0]?.time ?? this.#session.elapsed;
      this.#page.close(from);
      this.#page.gap(Math.min(this.#heardTo, from), from);
    }
    this.#resume = config.resume ?? null;
    this.#tape.waits(this.#resume?.window_s ?? 0);
    this.#tape.rewind();
    this.#sent = this.#remaining = this.#asked = this.#answered = 0;
    this.#clock = new StreamClock();
    this.#page.open(this.#clock);
    if (this.#stoppedAt === null) this.#capture.begin();
    this.#flow(kept);
    if (this.#paused) this.#capture.pause();
  }

  // The same stream: the server says what it has not heard of it, and nothing else was lost.
  #goOn(config) {
    const at = config.resume.received_bytes;
    const rest = this.#tape.after(at, this.#sent);
    if (!rest) {
      this.#connection.close();
      this.#giveUp();
      this.#connect();
      return;
    }
    if (at !== this.#sent) this.#clock.rewind(rest[0].second);
    this.#sent = at;
    this.#asked = this.#answered = this.#clock.length;
    this.#page.quiet();
    this.#flow(rest);
    const { language } = this.#page.query();
    if (language !== config.language) this.changeLanguage(language);
  }

  #flow(rest) {
    this.#ready = true;
    this.#heardTo = null;
    this.#attempts = 0;
    for (const piece of rest) this.#send(piece);
    if (this.#stoppedAt === null) {
      this.#set(this.#paused ? "paused" : "live");
    } else {
      this.#connection.finish();
      this.#set("finishing");
    }
  }

  #heard(data, length, late = 0) {
    this.#cameAt = performance.now();
    if (!this.active) return;
    const piece = { data, length, time: Math.max(0, this.#session.elapsed - length - late) };
    if (this.#capture.lasting || this.#resume) this.#tape.add(piece);
    if (this.#ready) this.#send(piece);
  }

  #send(piece) {
    const { data, length, time } = piece;
    const unsent = this.#connection.unsentBytes / this.#capture.bytesPerSecond;
    const dropping = unsent > (this.#dropping ? MAX_UNSENT_S / 2 : MAX_UNSENT_S);
    if (dropping !== this.#dropping) this.#page.slow(dropping);
    this.#dropping = dropping;
    piece.at = dropping ? undefined : this.#sent;
    piece.left = dropping;
    if (dropping) return;
    piece.second = this.#clock.length;
    piece.time = this.#clock.sent(time, length);
    this.#sent += data.byteLength ?? data.size;
    this.#connection.send(data);
    if (this.#clock.length - this.#asked >= ASK_S) {
      this.#asked = this.#clock.length;
      this.#connection.control({ type: "ping", id: this.#asked });
    }
    this.#measure();
  }

  // What the server has not heard yet, and what has not reached it.
  #measure() {
    this.lag = this.#remaining + Math.max(0, this.#clock.length - this.#answered - 1.5 * ASK_S);
  }

  #lost({ error }) {
    const wasReady = this.#ready;
    this.#ready = false;
    this.#connection = null;
    if (error && !COMING_BACK.includes(error.code)) {
      this.#over();
      this.#page.refused(error);
      return;
    }
    if (wasReady) {
      this.#lostAt = performance.now();
      this.#heardTo = Math.max(this.#page.until(), this.#clock.at(Math.max(0, this.#answered - this.#remaining)));
    }
    if (error || !this.#resume) this.#giveUp();
    if (error?.code === "unknown_session") {
      this.#connect();
      return;
    }
    if (!this.#wanted()) return;
    const wait = error?.retry_after_s ? Math.min(error.retry_after_s * 1000, 10000) : RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    this.#wait(error);
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  // The next connection begins a new stream, where what a recorder made is of no use.
  #giveUp() {
    this.#resume = null;
    if (this.#capture.lasting) return;  // text that is not firm yet stays until its sound is heard again
    this.#capture.halt();
    this.#tape.clear();
    this.#page.close();
  }

  #wait(error) {
    this.#set("waiting", { error, kept: this.#capture.lasting || this.#resume !== null, rest: this.#stoppedAt !== null });
  }

  // Whether another connection is; else this is the end.
  #wanted() {
    const wanted = this.#stoppedAt === null || this.#comesBack();
    if (!wanted) this.#over();
    return wanted;
  }

  // Whether a lost connection took something with it that can be said again. Firm text is never made twice: where the
  // session is not kept, it begins after the last firm word.
  #comesBack() {
    return this.#resume !== null || (this.#heardTo !== null && this.#tape.since(this.#page.until()).length > 0);
  }

  #over() {
    this.#connection = this.#resume = null;
    this.#ready = false;
    this.#tape.clear();
    this.#release();
    this.#capture = null;
    this.#session.stop();
    this.#page.close();
    this.lag = 0;
    this.#set("idle");
  }

  #release() {
    if (!this.#media) return;
    this.#capture?.close();
    this.#media.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    this.#media = null;
    this.#page.level(0);
  }

  #mute(muted) {
    this.#media.getAudioTracks().forEach((track) => { track.enabled = !muted; });
    if (muted) this.#page.level(0);
  }

  #set(state, detail = null) {
    if (state === "live") this.#cameAt = performance.now();
    this.state = state;
    this.#page.state(state, detail);
  }
}
