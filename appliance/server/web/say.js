// The page's words in the reader's language.
import { choices } from "./memory.js";
import { WORDS } from "./words.js";

let language = choices.read("page-language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!WORDS[language]) language = "en";

export const pageLanguage = () => language;

// `key` of words.js, its {places} filled in; undefined for a key that has no words.
export function say(key, places = {}) {
  return WORDS[language][key]?.replace(/\{(\w+)\}/g, (_, name) => places[name] ?? "");
}

export function setPageLanguage(wanted) {
  language = wanted;
  choices.write("page-language", wanted);
  translate();
}

// Fills elements that name their words: data-say for their text, data-say-label for what a screen reader calls them.
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) element.setAttribute("aria-label", say(element.dataset.sayLabel));
}

// The server's language codes as [code, name], by their names in the reader's language.
export function languageNames(codes) {
  const names = new Intl.DisplayNames([language, "en"], { type: "language", fallback: "code" });
  const named = codes.map((code) => {
    try { return [code, names.of(code.replace("_", "-"))]; } catch { return [code, code]; }
  });
  return named.sort((a, b) => a[1].localeCompare(b[1], language));
}
