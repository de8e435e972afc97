// Which part of a translation belongs to which part of a text. Where both have as many sentences these go together one by
// one, else as wholes; within that a place in one is as far from its beginning as in the other.
const SENTENCE_END = /[.?!]["'”’)]*(?=\s)|[。？！…]/gu;
const PIECE = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]\p{P}*\s*|[^\s\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]+\s*/gu;

// A part for each of the texts, in order; together they are the whole translation.
export function shares(texts, translation) {
  const ends = texts.map((text, at) => texts.slice(0, at + 1).join("").length);
  const stops = [sentenceEnds(texts.join("")), sentenceEnds(translation)];
  if (stops[0].length !== stops[1].length) for (const list of stops) list.splice(0, list.length - 1);
  const parts = texts.map(() => "");
  let place = 0, at = 0;
  for (const [piece] of translation.matchAll(PIECE)) {
    while (at < texts.length - 1 && mapped(ends[at], ...stops) <= place + piece.length / 2) at++;
    parts[at] += piece;
    place += piece.length;
  }
  return parts.map((part) => part.trim());
}

// Where sentences end, up to the end of the text.
function sentenceEnds(text) {
  const ends = [...text.matchAll(SENTENCE_END)].map((found) => found.index + found[0].length);
  return ends.at(-1) === text.length ? ends : [...ends, text.length];
}

function mapped(place, from, to) {
  const at = from.findIndex((end) => place <= end);
  const [start, goal] = [from[at - 1] ?? 0, to[at - 1] ?? 0];
  return goal + (to[at] - goal) * (place - start) / Math.max(1, from[at] - start);
}
