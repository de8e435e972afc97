// Who speaks: a number from the server, a colour, and a name that the reader may give.
import { say } from "./say.js";

const TONES = 8;
const LONGEST_NAME = 60;

export class Speakers {
  #names = new Map();

  get anyGiven() { return this.#names.size > 0; }

  of(speaker) { return this.#names.get(speaker) ?? say("speaker", { number: speaker }); }

  tone(speaker) { return String(((speaker - 1) % TONES + TONES) % TONES); }

  rename(speaker, name) {
    const kept = name.trim().slice(0, LONGEST_NAME);
    if (kept && kept !== say("speaker", { number: speaker })) this.#names.set(speaker, kept);
    else this.#names.delete(speaker);
  }
}

// A button with the speaker's name; pressed, it becomes a field for another one. `renamed` is called after a change.
export function nameButton(speakers, speaker, renamed) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "who";
  button.dataset.speaker = speaker;
  showName(button, speakers, speaker);
  button.addEventListener("click", () => edit(button, speakers, speaker, renamed));
  return button;
}

export function showName(button, speakers, speaker) {
  button.textContent = speakers.of(speaker);
  button.setAttribute("aria-label", say("rename", { name: speakers.of(speaker) }));
}

function edit(button, speakers, speaker, renamed) {
  const field = document.createElement("input");
  field.className = "who";
  field.maxLength = LONGEST_NAME;
  field.value = speakers.of(speaker);
  field.setAttribute("aria-label", say("new_name"));
  let over = false;
  const close = (keep) => {
    if (over) return;
    over = true;
    const focused = document.activeElement === field;
    field.replaceWith(button);
    if (focused) button.focus();
    if (!keep) return;
    speakers.rename(speaker, field.value);
    renamed(speaker);
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();  // else it would press the button that comes back
    close(event.key === "Enter");
  });
  field.addEventListener("blur", () => close(true));
  button.replaceWith(field);
  field.focus();
  field.select();
}
