// A recording that can't be heard from its beginning on: sent whole, and heard when it is there. Phones write such
// files, with the index that tells what is where at their end.
const HEAD_BYTES = 8;

export async function indexMayBeLast(file) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer().catch(() => new ArrayBuffer(HEAD_BYTES)));
  return String.fromCharCode(...head.slice(4)) === "ftyp";
}

// Resolves with {answer} or {failure}: what /transcribe says, or the server's error. `on` has progress(share that is
// sent), and sent().
export function upload(file, language, token, signal, on) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", "transcribe");
    request.responseType = "json";
    if (token) request.setRequestHeader("Authorization", `Bearer ${bytes(token)}`);
    request.upload.onprogress = ({ loaded, total }) => on.progress(loaded / total);
    request.upload.onload = () => on.sent();
    request.onload = () => resolve(request.status === 200 ? { answer: request.response } : { failure: request.response ?? { code: "lost" } });
    request.onerror = request.onabort = () => resolve({ failure: { code: "lost" } });
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("language", language);
    form.append("audio_file", file);
    request.send(form);
  });
}

// A header is bytes, one a sign.
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

// The answer as a stream would have said it.
export function snapshot({ segments, language }) {
  const speakers = [...new Set(segments.map(({ speaker }) => speaker))];
  const lines = segments.map((segment) => ({
    speaker: 1 + speakers.indexOf(segment.speaker), ...named(segment), text: segment.text.trim(),
    start: String(segment.start), end: String(segment.end), detected_language: language, words: spaced(segment),
  }));
  return { type: "snapshot", lines, buffer_transcription: "" };
}

// An enrolled voice has its name for a speaker, others a number.
const named = ({ speaker }) => (speaker && !/^SPEAKER_\d+$/.test(speaker) ? { name: speaker } : {});

// Words come without what stands between them; each gets what stands before it.
function spaced({ text, words }) {
  let at = 0;
  return words.map(({ word, start, end, score }) => {
    const from = at;
    at = Math.max(at, text.indexOf(word, at)) + word.length;
    return { text: text.slice(from, at), start, end, probability: score };
  });
}
