// Who speaks: a number from the server or the name of an enrolled voice, a colour, and a name that the reader may give.
import { say } from "./say.js";

const TONES = 8;
const LONGEST_NAME = 60;

export class Speakers {
  #names = new Map();

  get anyGiven() { return this.#names.size > 0; }

  // `who` is a number or an enrolled name.
  of(who) { return this.#names.get(who) ?? this.#first(who); }

  #first(who) { return typeof who === "string" ? who : say("speaker", { number: who }); }

  tone(speaker) { return String(((speaker - 1) % TONES + TONES) % TONES); }

  rename(who, name) {
    const kept = name.trim().slice(0, LONGEST_NAME);
    if (kept && kept !== this.#first(who)) this.#names.set(who, kept);
    else this.#names.delete(who);
  }
}

// A button with the speaker's name; pressed, it becomes a field for another one. `renamed` is called after a change.
export function nameButton(speakers, who, renamed) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "who";
  showName(button, speakers, who);
  button.addEventListener("click", () => edit(button, speakers, who, renamed));
  return button;
}

export function showName(button, speakers, who) {
  button.textContent = speakers.of(who);
  button.setAttribute("aria-label", say("rename", { name: speakers.of(who) }));
}

function edit(button, speakers, who, renamed) {
  const field = document.createElement("input");
  field.className = "who";
  field.maxLength = LONGEST_NAME;
  field.value = speakers.of(who);
  field.setAttribute("aria-label", say("new_name"));
  let over = false;
  const close = (keep) => {
    if (over) return;
    over = true;
    const focused = document.activeElement === field;
    field.replaceWith(button);
    if (focused) button.focus();
    if (!keep) return;
    speakers.rename(who, field.value);
    renamed(who);
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
