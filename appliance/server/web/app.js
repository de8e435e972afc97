// The page: what its buttons do, and how its parts are joined.
import { Captions } from "./captions.js";
import { SessionClock } from "./clock.js";
import { LATER, token } from "./connection.js";
import { FORMATS, download, plainText } from "./export.js";
import { FileJob } from "./file.js";
import { choices } from "./memory.js";
import { menu } from "./menu.js";
import { Panel } from "./panel.js";
import { Recording } from "./recording.js";
import { languageNames, pageLanguage, say, setPageLanguage, translate } from "./say.js";
import { TAB, canRecord, canShareSound, microphones } from "./sources.js";
import { Speakers } from "./speakers.js";
import { Transcript, shortTime } from "./transcript.js";
import { Announcer, View } from "./view.js";

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const REFRESH_MS = 250;

const session = new SessionClock();
const speakers = new Speakers();
const transcript = new Transcript();
const panel = new Panel(ui);
const announcer = new Announcer(ui.announcer);
const captions = new Captions(
  { dialog: ui["captions-view"], lines: ui["captions-lines"], smaller: ui.smaller, larger: ui.larger, close: ui["captions-close"], size: ui.size },
  speakers, () => captions.update(transcript));
const view = new View(
  { box: ui.transcript, list: ui.committed, home: ui.pending, waiting: ui.waiting, tentative: ui.tentative, translationHome: ui["pending-translation"], guess: ui.guess, end: ui.end },
  speakers, () => captions.update(transcript));

let serverReady = false;
let languages = [];
let translation = null;    // what the server can translate into: {targets, default}
let afterToken = () => start();

// Text.

function show(from) {
  view.show(transcript, from);
  captions.update(transcript);
  counted();
}

function counted() {
  const count = transcript.wordCount;
  ui.count.textContent = count === 1 ? say("word_count_one") : say("word_count", { count: count.toLocaleString(pageLanguage()) });
  ui.empty.hidden = !transcript.isEmpty || Boolean(transcript.tentative || transcript.waiting);
  for (const id of ["copy", "download"]) ui[id].disabled = !count;
  ui.clear.disabled = transcript.isEmpty;
}

// What recordings and files have in common.
const text = {
  query: () => ({ language: ui.language.value, ...(translation && { target_language: ui.target.value }) }),
  open: (clock) => { panel.quiet(); transcript.open(clock, ui.target.value); },
  update: (message) => {
    const change = transcript.apply(message);
    if (!change) return;
    announcer.add(change.added, transcript.entries.at(-1)?.language);
    show(change.from);
  },
  until: () => transcript.until,
  configured: (config) => keeps(Boolean(config.journal)),
  close: (again) => {
    const from = transcript.entries.length;
    transcript.close(again);
    show(from);
  },
};

function refused(error) {
  panel.error(error);
  if (error.code !== "unauthorized") return;
  token.value = "";
  ui["token-form"].hidden = false;
  ui.token.focus();
}

// Those who speak and those who read are told that the server keeps it.
function keeps(text) {
  for (const note of document.querySelectorAll(".kept")) note.hidden = !text;
}

// Live sound.

const recording = new Recording({
  ...text,
  refused,
  level: (peak) => { ui.level.value = Math.sqrt(peak); },
  slow: (now) => { if (now) panel.notice("slow"); else panel.quiet("slow"); },
  warned: (error) => panel.error(error),
  quiet: () => panel.quiet(),
  ended: (source) => { if (source !== TAB) panel.notice("unplugged"); },
  gap: (start, end) => { transcript.mark({ kind: "gap", start, end }); show(transcript.entries.length - 1); },
  state: (name, detail) => {
    const full = LATER.includes(detail?.error?.code);
    panel.state(name === "idle" ? "ready" : name === "waiting" && full ? "full" : name);
    if (name === "waiting" && detail.error) panel.error(detail.error);
    else if (name === "waiting") panel.notice(detail.rest ? "lost_rest" : detail.kept ? "lost" : "lost_unkept");
    buttons();
  },
}, session);

async function start() {
  panel.quiet();
  ui["token-form"].hidden = true;
  afterToken = start;
  try {
    await recording.start(ui.source.value);
  } catch (error) {
    blocked(error.reason ?? "other", error.message);
    return;
  }
  listMicrophones();
}

function blocked(reason, detail = "") {
  const secure = new URL(location.href);
  secure.protocol = "https:";
  const links = { insecure: [[secure.href], ["ca", "trust"]], denied: [["ca", "trust"]] };
  panel.notice(reason, { detail }, links[reason]);
  panel.state("blocked");
}

// Files.

let fileName = "";

const job = new FileJob({
  ...text,
  refused,
  open: (clock) => {
    transcript.mark({ kind: "file", name: fileName, start: session.elapsed, end: session.elapsed });
    text.open(clock);
    show(transcript.entries.length - 1);
  },
  waiting: (error) => { panel.state("full"); panel.error(error); },
  progress: (share) => {
    if (share === null) ui["file-progress"].removeAttribute("value"); else ui["file-progress"].value = share;
    ui["file-percent"].textContent = share === null ? "" : `${Math.floor(share * 100)} %`;
  },
  state: (name) => {
    panel.state(name === "idle" ? "ready" : name);
    buttons();
  },
});

async function transcribe(file) {
  const hindrance = job.active ? "busy_file" : recording.active ? "busy_page" : !serverReady ? "not_yet" : !file.size ? "no_sound" : null;
  if (hindrance) { panel.notice(hindrance); return; }
  panel.quiet();
  ui["token-form"].hidden = true;
  afterToken = () => transcribe(file);
  ui["file-name"].textContent = fileName = file.name;
  await job.run(file, session.elapsed);
  session.atLeast(transcript.until);
}

// The page.

function buttons() {
  const { state, active } = recording;
  const held = [ui["file-button"], ui["file-cancel"]].includes(document.activeElement);
  ui.toggle.disabled = !serverReady || !canRecord() || job.active;
  ui.toggle.setAttribute("aria-disabled", String(state === "starting"));  // a disabled button loses the focus
  ui.toggle.dataset.action = active ? "stop" : "start";
  ui["toggle-text"].textContent = say(active ? "stop" : "start");
  ui.pause.hidden = !active;
  ui.pause.setAttribute("aria-disabled", String(!["live", "paused"].includes(state)));
  ui.pause.textContent = say(state === "paused" ? "resume" : "pause");
  ui["paused-note"].hidden = state !== "paused";
  ui.source.disabled = active || job.active || !canRecord();
  ui.target.disabled = active || job.active;
  ui["file-button"].disabled = !serverReady || active || job.active;
  ui["file-row"].hidden = !job.active;
  if (held) ui[job.active ? "file-cancel" : "file-button"].focus();
  tick();
}

function tick() {
  if (recording.deaf) panel.notice("deaf"); else panel.quiet("deaf");
  panel.lag(["live", "paused"].includes(recording.state) ? recording.lag : job.active ? job.lag : null);
  ui.clock.textContent = shortTime(session.elapsed);
}

async function listMicrophones() {
  const chosen = ui.source.value || choices.read("source") || "";
  const found = await microphones();
  const options = found.map(([id, name], at) => new Option(name || say("microphone_number", { number: at + 1 }), id));
  if (canShareSound()) options.push(new Option(say("tab"), TAB));
  ui.source.replaceChildren(new Option(say("usual"), ""), ...options);
  ui.source.value = [...ui.source.options].some((option) => option.value === chosen) ? chosen : "";
}

function listLanguages() {
  const chosen = ui.language.value || choices.read("language") || "auto";
  ui.language.replaceChildren(new Option(say("detect"), "auto"), ...languageNames(languages).map(([code, name]) => new Option(name, code)));
  ui.language.value = [...ui.language.options].some((option) => option.value === chosen) ? chosen : "auto";
}

function listTargets() {
  ui["target-field"].hidden = !translation;
  if (!translation) return;
  const chosen = ui.target.options.length ? ui.target.value : choices.read("target") ?? translation.default;
  ui.target.replaceChildren(new Option(say("no_target"), ""), ...languageNames(translation.targets).map(([code, name]) => new Option(name, code)));
  ui.target.value = translation.targets.includes(chosen) ? chosen : "";
  ui.transcript.classList.toggle("two", Boolean(ui.target.value));
}

function inWords() {
  translate();
  panel.again();
  view.showNames();
  listLanguages();
  listTargets();
  listMicrophones();
  counted();
  buttons();
}

async function whenReady() {
  try {
    const answer = await fetch("readyz", { cache: "no-store" });
    const report = await answer.json();
    if (answer.ok) {
      languages = report.languages ?? [];
      translation = report.translation ?? null;
      serverReady = true;
      keeps(Boolean(report.journal));
      listLanguages();
      listTargets();
      panel.state(canRecord() ? "ready" : "blocked");
      if (report.warning && !recording.active) panel.notice(say(`warning_${report.warning}`) ? `warning_${report.warning}` : "warning");
      buttons();
      return;
    }
    panel.state(["failed", "stopping"].includes(report.status) ? report.status : "loading");
  } catch {
    panel.state("unreachable");
  }
  setTimeout(whenReady, 1000);
}

ui.toggle.addEventListener("click", () => (recording.active ? recording.stop() : start()));
ui.pause.addEventListener("click", () => (recording.state === "paused" ? recording.resume() : recording.pause()));
ui.language.addEventListener("change", () => {
  choices.write("language", ui.language.value);
  recording.changeLanguage(ui.language.value);
});
ui.target.addEventListener("change", () => {
  choices.write("target", ui.target.value || "none");
  ui.transcript.classList.toggle("two", Boolean(ui.target.value));
});
ui.source.addEventListener("change", () => choices.write("source", ui.source.value === TAB ? "" : ui.source.value));
ui["page-language"].addEventListener("click", () => { setPageLanguage(pageLanguage() === "en" ? "zh" : "en"); inWords(); });
ui["captions-open"].addEventListener("click", () => captions.show());
ui["file-button"].addEventListener("click", () => ui.file.click());
ui.file.addEventListener("change", () => {
  const [file] = ui.file.files;
  ui.file.value = "";
  if (file) transcribe(file);
});
ui["file-cancel"].addEventListener("click", () => {
  panel.quiet();
  job.cancel();
});
ui.copy.addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText(plainText(transcript.entries, speakers)).then(() => true, () => false);
  ui.copy.textContent = say(copied ? "copied" : "not_copied");
  setTimeout(() => { ui.copy.textContent = say("copy"); }, 1500);
});
menu(ui.download, ui.formats);
for (const format of Object.keys(FORMATS)) ui[`download-${format}`].addEventListener("click", () => download(format, transcript.entries, speakers));
ui.clear.addEventListener("click", () => {
  transcript.clear();
  view.clear();
  if (!recording.active) session.reset();
  show(0);
  ui.transcript.focus();
});
ui["token-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  token.value = ui.token.value;
  ui.token.value = "";
  ui["token-form"].hidden = true;
  afterToken();
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  ui.drop.hidden = false;
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) ui.drop.hidden = true; });
addEventListener("drop", (event) => {
  ui.drop.hidden = true;
  const [file] = event.dataTransfer?.files ?? [];
  if (!file) return;
  event.preventDefault();
  transcribe(file);
});
addEventListener("beforeunload", (event) => { if (recording.active || job.active) event.preventDefault(); });
navigator.mediaDevices?.addEventListener?.("devicechange", listMicrophones);
setInterval(tick, REFRESH_MS);

inWords();
if (!canRecord()) blocked("insecure");
whenReady();
