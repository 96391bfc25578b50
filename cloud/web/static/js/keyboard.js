// Keys as the page declares them: data-key="r" (one key), "g r" (one after the other), "Ctrl+Enter" (together).
// A key focuses an input or clicks anything else. "?" shows the map, filled from the same attributes.
const SEQUENCE_MS = 1200;

let pending = "";
let pendingSince = 0;

export function startKeyboard(root) {
  root.addEventListener("keydown", onKey);
  for (const opener of root.querySelectorAll("[data-open-dialog]")) {
    opener.addEventListener("click", () => openMap(root, opener.dataset.openDialog));
  }
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey || event.metaKey) return;
  const name = nameOf(event);
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target) && !event.ctrlKey && !isFunctionKey(event.key)) {
    // An empty scan box keeps the focus all day: "?" must still show the map, Escape must still leave the box.
    if (name === "Escape") event.target.blur();
    if (!(name === "?" && event.target.value === "" && "scanBox" in event.target.dataset)) return;
  }
  const now = performance.now();
  const typed = pending && now - pendingSince < SEQUENCE_MS ? `${pending} ${name}` : name;
  const target = find(typed) || find(name);
  pending = target ? "" : name;
  pendingSince = now;
  if (!target) return;
  event.preventDefault();
  if (isTyping(target)) {
    target.focus();
    target.select?.();
  } else {
    target.click();
  }
}

function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key;
  return event.ctrlKey ? `Ctrl+${key.length === 1 ? key.toUpperCase() : key}` : key;
}

function find(name) {
  for (const each of document.querySelectorAll("[data-key]")) {
    if (each.dataset.key === name && !each.disabled && each.offsetParent !== null) return each;
  }
  return null;
}

function isTyping(element) {
  return element instanceof HTMLElement && element.matches("input, textarea, select, [contenteditable]");
}

function isFunctionKey(key) {
  return /^F\d+$/.test(key);
}

function openMap(root, id) {
  const dialog = root.getElementById(id);
  const list = dialog.querySelector("[data-keyboard-list]");
  if (list) fill(list);
  dialog.showModal();
}

function fill(list) {
  const shown = new Map();
  for (const each of document.querySelectorAll("[data-key]")) {
    const label = each.dataset.keyLabel || each.getAttribute("aria-label") || each.textContent.trim();
    if (!shown.has(each.dataset.key)) shown.set(each.dataset.key, label);
  }
  list.replaceChildren();
  for (const [keys, label] of shown) {
    const term = document.createElement("dt");
    for (const key of keys.split(" ")) {
      const box = document.createElement("kbd");
      box.textContent = key;
      term.append(box, " ");
    }
    const meaning = document.createElement("dd");
    meaning.textContent = label;
    list.append(term, meaning);
  }
}
