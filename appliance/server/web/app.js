import { SILENCE, Stream, languageNames } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  ["status", "status-text", "notice", "notice-message", "notice-hint", "token-form", "token", "transcript", "empty",
    "committed", "tentative", "count", "copy", "download", "clear", "language", "level", "clock", "toggle", "toggle-text"]
    .map((id) => [id, $(id)]));

const RETRY_MS = [1000, 2000, 4000, 8000];
const DRAIN_MS = 20000;
const MAX_UNSENT_BYTES = 4 << 20;

let wanted = false;      // the user wants to record
let microphone = null;   // { stream, context, node }
let socket = null;
let stream = new Stream();
let elements = [];       // <p> of the current stream's lines; its index 0 is line `stream.pruned` at its start
let firstElement = 0;
let clearedText = "";    // what line `firstElement` held when the page was cleared: not shown again
let attempts = 0;
let timer = 0;
let startedAt = 0;
let token = new URLSearchParams(location.search).get("token") || sessionStorage.getItem("token") || "";

function status(state, text) {
  ui.status.dataset.state = state;
  ui["status-text"].textContent = text;
}

function notice(message, hint = "") {
  ui["notice-message"].textContent = message;
  ui["notice-hint"].textContent = hint;
  ui.notice.hidden = !message;
}

function button(recording) {
  ui.toggle.setAttribute("aria-pressed", String(recording));
  ui["toggle-text"].textContent = recording ? "Stop" : "Start";
}

// Text on the page.

function showLines(from) {
  for (let i = from; i < stream.pruned + stream.lines.length; i++) {
    const line = stream.lines[i - stream.pruned];
    const at = i - firstElement;
    if (at < 0) continue;
    if (!elements[at]) {
      elements[at] = document.createElement("p");
      ui.committed.append(elements[at]);
    }
    const hidden = at === 0 && line.text.startsWith(clearedText) ? clearedText.length : 0;
    fill(elements[at], line, line.text.slice(hidden).trimStart());
  }
}

function fill(element, line, shown) {
  if (line.speaker === SILENCE) {
    element.className = "pause";
    element.textContent = "pause";
    return;
  }
  if (!element.firstChild) {
    const time = document.createElement("time");
    time.textContent = line.start.split(".")[0];
    element.append(time, document.createTextNode(""));
  }
  const text = element.lastChild;
  // Append where the line only grew, so that a screen reader speaks the new words alone.
  if (shown.startsWith(text.data)) text.appendData(shown.slice(text.data.length));
  else text.data = shown;
}

function plainText() {
  return [...ui.committed.children].filter((p) => p.className !== "pause").map((p) => p.lastChild.data)
    .filter(Boolean).join("\n");
}

// Counting words looks at the whole text: at most twice a second.
let refreshing = 0;
function refreshSoon() {
  ui.empty.hidden = true;
  refreshing ||= setTimeout(refresh, 500);
}

function refresh() {
  clearTimeout(refreshing);
  refreshing = 0;
  const text = plainText();
  const words = text.split(/\s+/).filter(Boolean).length;
  ui.count.textContent = words === 1 ? "1 word" : `${words} words`;
  ui.empty.hidden = Boolean(text || ui.tentative.textContent);
  for (const id of ["copy", "download", "clear"]) ui[id].disabled = !text;
}

function update(message) {
  const box = ui.transcript;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  const changed = stream.apply(message);
  if (changed === null) return;
  showLines(changed);
  if (ui.tentative.textContent !== stream.tentative) ui.tentative.textContent = stream.tentative;
  if (stream.lines.length || stream.tentative) refreshSoon();
  if (atEnd) box.scrollTop = box.scrollHeight;
  const lag = message.remaining_time_transcription || 0;
  if (wanted) status("live", lag > 4 ? `Listening, ${lag.toFixed(0)} s behind` : "Listening");
}

// The socket.

function address() {
  const url = new URL("asr", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = new URLSearchParams({
    mode: "diff", format: "s16le", rate: microphone.context.sampleRate, language: ui.language.value,
    ...(token && { token }),
  });
  return url;
}

function connect() {
  stream = new Stream();
  elements = [];
  firstElement = 0;
  clearedText = "";
  ui.tentative.textContent = "";
  const mine = (socket = new WebSocket(address()));
  let told = false;
  mine.binaryType = "arraybuffer";
  mine.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "config") {
      attempts = 0;
      notice("");
      if (wanted) status("live", "Listening");
    } else if (message.type === "error") {
      told = true;
      refused(message);
    } else if (message.type === "ready_to_stop") {
      mine.close(1000);
    } else {
      update(message);
    }
  };
  mine.onclose = (event) => {
    if (socket !== mine) return;
    socket = null;
    if (!wanted) { finished(); return; }
    if (told && ![1012, 1013].includes(event.code)) { stop(); finished(); return; }
    again(event.code, told);
  };
}

function again(code, told) {
  const wait = RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)];
  status("trouble", "Reconnecting…");
  if (!told) {
    notice(
      code === 1012 ? "The server is restarting." : "Connection lost.",
      "What you say now is not heard. The text so far stays; recording goes on as soon as the server answers.");
  }
  setTimeout(() => { if (wanted && !socket) connect(); }, wait);
}

function refused(error) {
  notice(error.message, error.hint);
  if (error.code === "unauthorized") {
    ui["token-form"].hidden = false;
    ui.token.focus();
    sessionStorage.removeItem("token");
  }
}

// The microphone.

async function openMicrophone() {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  for (const rate of [16000, undefined]) {
    // Where a browser can't resample the microphone itself, its own rate goes out and the server resamples.
    const context = new AudioContext(rate ? { sampleRate: rate } : {});
    try {
      const source = context.createMediaStreamSource(media);
      await context.audioWorklet.addModule("worklet.js");
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => (data.flushed ? endStream() : heard(data));
      source.connect(node);
      await context.resume();
      media.getAudioTracks()[0].onended = () => {
        if (wanted) { notice("The microphone was disconnected.", "Plug it in and press Start."); stop(); }
      };
      return { media, context, node };
    } catch (error) {
      await context.close();
      if (!rate) { media.getTracks().forEach((track) => track.stop()); throw error; }
    }
  }
  return null;
}

function heard({ pcm, peak }) {
  ui.level.value = Math.sqrt(peak);
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > MAX_UNSENT_BYTES) {
    notice("The network or the server is too slow: some speech is left out.", "It goes on by itself when there is room.");
    return;
  }
  socket.send(pcm);
}

function closeMicrophone() {
  if (!microphone) return;
  microphone.media.getTracks().forEach((track) => track.stop());
  microphone.context.close();
  microphone = null;
  ui.level.value = 0;
}

function endStream() {
  closeMicrophone();
  if (socket?.readyState === WebSocket.OPEN) socket.send(new ArrayBuffer(0));
}

function whyNoMicrophone(error) {
  const reasons = {
    NotAllowedError: ["The microphone is not allowed.", "Allow it for this page: the icon beside the address, or the browser's settings."],
    NotFoundError: ["No microphone was found.", "Plug one in and press Start again."],
    NotReadableError: ["The microphone is in use by another program.", "Close that program and press Start again."],
  };
  return reasons[error.name] || ["The microphone can't be used.", error.message];
}

// Start and stop.

async function start() {
  wanted = true;
  notice("");
  ui["token-form"].hidden = true;
  ui.toggle.disabled = true;
  status("loading", "Asking for the microphone…");
  try {
    microphone = await openMicrophone();
  } catch (error) {
    wanted = false;
    notice(...whyNoMicrophone(error));
    status("trouble", "No microphone");
    return;
  } finally {
    ui.toggle.disabled = false;
  }
  button(true);
  startedAt = Date.now();
  timer = setInterval(showClock, 500);
  attempts = 0;
  status("loading", "Connecting…");
  connect();
}

function stop() {
  wanted = false;
  clearInterval(timer);
  button(false);
  if (socket) {
    status("loading", "Finishing…");
    ui.toggle.disabled = true;
    const mine = socket;
    if (mine.readyState === WebSocket.CONNECTING) mine.close();
    setTimeout(() => { if (socket === mine) mine.close(); }, DRAIN_MS);
  }
  if (microphone) microphone.node.port.postMessage("flush");
  if (!socket) { closeMicrophone(); finished(); }
}

function finished() {
  closeMicrophone();
  ui.toggle.disabled = false;
  ui.tentative.textContent = "";
  refresh();
  status("ready", "Ready");
}

function showClock() {
  const seconds = Math.floor((Date.now() - startedAt) / 1000);
  ui.clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

// Setting up.

async function whenReady() {
  try {
    const answer = await fetch("readyz", { cache: "no-store" });
    const report = await answer.json();
    if (answer.ok) {
      for (const [code, name] of languageNames(report.languages || [])) ui.language.append(new Option(name, code));
      const before = localStorage.getItem("language");
      if (before && [...ui.language.options].some((option) => option.value === before)) ui.language.value = before;
      status("ready", "Ready");
      ui.toggle.disabled = !canRecord();
      return;
    }
    status("loading", report.status === "loading" ? "The model is loading…" : `Server: ${report.status}`);
  } catch {
    status("trouble", "No answer from the server");
  }
  setTimeout(whenReady, 1000);
}

function canRecord() {
  if (window.isSecureContext && navigator.mediaDevices?.getUserMedia) return true;
  const secure = new URL(location.href);
  secure.protocol = "https:";
  notice(
    "The microphone is blocked, because this page did not come over https.",
    `Browsers give the microphone to https pages only. Open ${secure.href} (the server must run with TLS), or use http://localhost on the server itself.`);
  return false;
}

ui.toggle.addEventListener("click", () => (wanted ? stop() : start()));
ui.language.addEventListener("change", () => {
  localStorage.setItem("language", ui.language.value);
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "config", language: ui.language.value }));
});
ui.copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(plainText());
    ui.copy.textContent = "Copied";
  } catch {
    ui.copy.textContent = "Not allowed";
  }
  setTimeout(() => { ui.copy.textContent = "Copy"; }, 1500);
});
ui.download.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([plainText() + "\n"], { type: "text/plain;charset=utf-8" }));
  link.download = `transcript-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
ui.clear.addEventListener("click", () => {
  ui.committed.replaceChildren();
  const last = stream.lines.at(-1);
  firstElement = stream.pruned + Math.max(0, stream.lines.length - 1);
  clearedText = last && last.speaker !== SILENCE ? last.text : "";
  elements = [];
  refresh();
});
ui["token-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  token = ui.token.value;
  sessionStorage.setItem("token", token);
  start();
});
addEventListener("beforeunload", (event) => { if (wanted) event.preventDefault(); });
whenReady();
