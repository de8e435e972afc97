// The client side of mode=diff: keeps the lines of one stream.
export class Stream {
  lines = [];
  pruned = 0;
  tentative = "";

  // Returns the index (within all lines ever) from which lines changed, or null for other messages.
  apply(message) {
    let changed;
    if (message.type === "snapshot") {
      this.lines = message.lines;
      changed = this.pruned;
    } else if (message.type === "diff") {
      const dropped = message.lines_pruned || 0;
      this.lines.splice(0, dropped);
      this.pruned += dropped;
      this.lines.length = Math.min(this.lines.length, message.n_lines - message.new_lines.length);
      changed = this.pruned + this.lines.length;
      this.lines.push(...message.new_lines);
    } else {
      return null;
    }
    this.tentative = message.buffer_transcription || "";
    return changed;
  }
}

export const SILENCE = -2;

// The server's JSON languages to option entries, by their names in the reader's language.
export function languageNames(codes) {
  const names = new Intl.DisplayNames([navigator.language || "en", "en"], { type: "language", fallback: "code" });
  const named = codes.map((code) => {
    try { return [code, names.of(code)]; } catch { return [code, code]; }
  });
  return named.sort((a, b) => a[1].localeCompare(b[1]));
}
