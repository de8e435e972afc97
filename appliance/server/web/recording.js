// Live sound to live text: start, pause, stop, and going on after the connection was lost.
import { capture } from "./capture.js";
import { StreamClock } from "./clock.js";
import { Connection, token } from "./connection.js";
import { openSource } from "./sources.js";

const RETRY_MS = [1000, 2000, 4000, 8000];
const KEPT_S = 30;
const DRAIN_MS = 20000;
const MAX_UNSENT_BYTES = 4 << 20;
const COMING_BACK = ["over_capacity", "too_many_sessions", "not_ready", "restarting", "idle_timeout"];

export class Recording {
  state = "idle";          // starting, connecting, live, paused, waiting (for the server), finishing
  lag = 0;                 // seconds of sound that are not text yet
  #page;
  #session;
  #media = null;
  #capture = null;
  #connection = null;
  #ready = false;          // the server takes sound
  #clock = null;
  #kept = [];              // [data, seconds, time]: heard while no connection takes it
  #paused = false;
  #attempts = 0;
  #lostAt = null;
  #retry = 0;
  #remaining = 0;

  // `page` has state(name, detail), open(clock), update(message), close(), gap(start, end), level(peak), dropped(),
  // warned(error), ended(source), refused(error), query(); `session` is the SessionClock.
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
      this.#capture = await capture(this.#media, { piece: (data, length) => this.#heard(data, length), level: (peak) => this.#page.level(peak) });
    } catch (error) {
      this.#release();
      this.#set("idle");
      throw error;
    }
    this.#media.getAudioTracks()[0].onended = () => {
      if (!this.active || this.state === "finishing") return;
      this.#page.ended(source);
      this.stop();
    };
    this.#paused = false;
    this.#attempts = 0;
    this.#lostAt = null;
    this.#session.run();
    this.#set("connecting");
    this.#connect();
  }

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

  async stop() {
    if (["idle", "starting", "finishing"].includes(this.state)) return;
    clearTimeout(this.#retry);
    const mine = this.#connection;
    if (!this.#ready) { mine?.close(); this.#over(); return; }
    this.#set("finishing");
    setTimeout(() => { if (this.#connection === mine) { mine.close(); this.#over(); } }, DRAIN_MS);
    await this.#capture.flush();
    this.#release();
    mine.finish();
  }

  changeLanguage(language) { if (this.#ready) this.#connection.control({ type: "config", language }); }

  #connect() {
    this.#ready = false;
    const mine = new Connection({ ...this.#capture.query, ...this.#page.query() }, token.value, {
      ready: () => { if (mine === this.#connection) this.#begin(); },
      update: (message) => {
        this.#remaining = message.remaining_time_transcription || 0;
        this.#measure();
        this.#page.update(message);
      },
      warned: (error) => this.#page.warned(error),
      ended: () => this.#over(),
      lost: (how) => this.#lost(how),
    });
    this.#connection = mine;
  }

  #begin() {
    this.#ready = true;
    this.#attempts = 0;
    this.#remaining = 0;
    this.#clock = new StreamClock();
    if (this.#lostAt !== null) this.#page.gap(this.#lostAt, this.#kept[0]?.[2] ?? this.#session.elapsed);
    this.#lostAt = null;
    this.#page.open(this.#clock);
    this.#capture.begin();
    for (const piece of this.#kept.splice(0)) this.#send(...piece);
    this.#set(this.#paused ? "paused" : "live");
    if (this.#paused) this.#capture.pause();
  }

  #heard(data, length) {
    if (!this.active) return;
    const time = Math.max(0, this.#session.elapsed - length);
    if (this.#ready) { this.#send(data, length, time); return; }
    this.#kept.push([data, length, time]);
    if (this.#kept.length * length > KEPT_S) this.#kept.shift();
  }

  #send(data, length, time) {
    if (this.#connection.unsentBytes > MAX_UNSENT_BYTES) { this.#page.dropped(); return; }
    this.#clock.sent(time, length);
    this.#connection.send(data);
    this.#measure();
  }

  // What the server has not heard yet, and what has not reached it.
  #measure() {
    this.lag = this.#remaining + (this.#connection?.unsentBytes ?? 0) / (this.#capture?.bytesPerSecond ?? 32000);
  }

  #lost({ error }) {
    const wasReady = this.#ready;
    this.#ready = false;
    this.#connection = null;
    this.#page.close();
    if (this.state === "finishing") { this.#over(); return; }
    if (error && !COMING_BACK.includes(error.code)) {
      this.#over();
      this.#page.refused(error);
      return;
    }
    if (wasReady) this.#lostAt = this.#session.elapsed;
    this.#capture.halt();
    const wait = error?.retry_after_s ? Math.min(error.retry_after_s * 1000, 10000) : RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    this.#set("waiting", { error, kept: this.#capture.lasting });
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  #over() {
    this.#connection = null;
    this.#ready = false;
    this.#kept = [];
    this.#release();
    this.#session.stop();
    this.#page.close();
    this.lag = 0;
    this.#set("idle");
  }

  #release() {
    this.#capture?.close();
    this.#media?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    this.#capture = this.#media = null;
    this.#page.level(0);
  }

  #mute(muted) {
    this.#media.getAudioTracks().forEach((track) => { track.enabled = !muted; });
    if (muted) this.#page.level(0);
  }

  #set(state, detail = null) {
    this.state = state;
    this.#page.state(state, detail);
  }
}
