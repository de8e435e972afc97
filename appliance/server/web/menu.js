// A button that opens a short list of choices; arrow keys move in it, Escape closes it.
export function menu(button, list) {
  const items = [...list.querySelectorAll("button")];
  const set = (open) => {
    list.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) items[0].focus();
  };
  button.addEventListener("click", () => set(list.hidden));
  list.addEventListener("click", () => { set(false); button.focus(); });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { set(false); button.focus(); }
    if (!step) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  });
  list.addEventListener("focusout", ({ relatedTarget }) => { if (!list.contains(relatedTarget) && relatedTarget !== button) set(false); });
}
