// The transcript as a file: text, subtitles, json. Made when asked for, from all entries.
import { shares } from "./shares.js";
import { shortTime } from "./transcript.js";

const CUE_S = 7;
const PAUSE_S = 1.5;
const LINE_CHARS = 42;
const LINGER_S = 0.5;
const SHORTEST_S = 0.3;
const WIDE = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;
const SENTENCE_END = /[.?!。？！…]["'”’)]*$/u;

// `text` is plain text for the clipboard; the others are files.
export const FORMATS = {
  txt: ["text/plain", (entries, names) => `${plainText(entries, names)}\n`],
  srt: ["application/x-subrip", toSrt],
  vtt: ["text/vtt", toVtt],
  json: ["application/json", toJson],
};

const spoken = (entries) => entries.filter((entry) => entry.kind === "line" && entry.text);

// Names are worth telling where there are several speakers, or one that was given a name.
function telling(lines, names) {
  return names.anyGiven || new Set(lines.map((line) => line.who)).size > 1;
}

export function plainText(entries, names) {
  const lines = spoken(entries);
  const named = telling(lines, names);
  return lines.map((line) => `[${shortTime(line.start)}] ${named ? `${names.of(line.who)}: ` : ""}${line.text}${line.translation ? `\n${line.translation}` : ""}`).join("\n");
}

function toSrt(entries, names) {
  const safe = (text) => text.replaceAll("<", "‹").replaceAll(">", "›");
  return cues(entries, names).map((cue, at) => `${at + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n`
    + `${safe((cue.name ? `${cue.name}: ` : "") + cue.text + (cue.below && `\n${cue.below}`))}\n\n`).join("");
}

function toVtt(entries, names) {
  const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `WEBVTT\n\n${cues(entries, names).map((cue) => `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n`
    + `${cue.name ? `<v ${safe(cue.name)}>` : ""}${safe(cue.text)}${cue.below && `\n<c.translation>${safe(cue.below)}</c>`}\n\n`).join("")}`;
}

function toJson(entries, names) {
  const round = (value) => Math.round(value * 100) / 100;
  const segments = spoken(entries).map((line) => ({
    speaker: names.of(line.who), start: round(line.start), end: round(line.end), text: line.text,
    ...(line.language && { language: line.language }), ...(line.unsure && { tentative: true }),
    ...(line.translation && { translation: line.translation }),
    words: line.words.map((word) => ({ text: word.text, start: round(word.start), end: round(word.end), probability: word.probability })),
  }));
  return `${JSON.stringify({ text: segments.map((segment) => segment.text).join("\n"), segments }, null, 1)}\n`;
}

// {start, end, text, below, name}: at most two lines of text, and as many of its translation below, and some seconds each, never overlapping.
export function cues(entries, names) {
  const lines = spoken(entries);
  const named = telling(lines, names);
  const made = lines.flatMap((line) => {
    const found = groups(line);
    const texts = found.map((words) => words.map((word) => word.text).join(""));
    const below = shares(texts, line.translation ?? "");
    return found.map((words, at) => ({
      start: words[0].start, end: words.at(-1).end, text: broken(texts[at].trim()), below: broken(below[at]), name: named ? names.of(line.who) : "",
    }));
  });
  made.forEach((cue, at) => {
    cue.start = Math.max(cue.start, made[at - 1]?.end ?? 0);
    const free = made[at + 1]?.start ?? Infinity;
    cue.end = Math.max(cue.start + SHORTEST_S, Math.min(Math.max(cue.end, cue.start) + LINGER_S, free));
  });
  return made;
}

function groups(line) {
  const found = [];
  let group = [];
  for (const word of line.words.length ? line.words : [{ text: line.text, start: line.start, end: line.end }]) {
    const before = group.at(-1);
    const full = before && (width(group) + wide(word.text) > 2 * LINE_CHARS || word.end - group[0].start > CUE_S
      || word.start - before.end > PAUSE_S || (SENTENCE_END.test(before.text) && width(group) > LINE_CHARS / 2));
    if (full) { found.push(group); group = []; }
    group.push(word);
  }
  return [...found, group];
}

const wide = (text) => [...text].reduce((sum, sign) => sum + (WIDE.test(sign) ? LINE_CHARS / 16 : 1), 0);
const width = (words) => words.reduce((sum, word) => sum + wide(word.text), 0);

// In two lines, at the space that is nearest to the middle.
function broken(text) {
  if (wide(text) <= LINE_CHARS) return text;
  const middle = text.length / 2;
  const spaces = [...text.matchAll(/\s/g)].map((space) => space.index);
  if (!spaces.length) return `${text.slice(0, Math.ceil(middle))}\n${text.slice(Math.ceil(middle))}`;
  const at = spaces.reduce((best, space) => (Math.abs(space - middle) < Math.abs(best - middle) ? space : best));
  return `${text.slice(0, at)}\n${text.slice(at + 1)}`;
}

function stamp(time, point) {
  const thousandths = Math.round(time * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const whole = Math.floor(thousandths / 1000);
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${point}${String(thousandths % 1000).padStart(3, "0")}`;
}

export function download(format, entries, names) {
  const [type, make] = FORMATS[format];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([make(entries, names)], { type: `${type};charset=utf-8` }));
  link.download = `transcript-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
