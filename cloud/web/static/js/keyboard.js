// Keys as the page declares them: data-key="r" (one key), "g r" (one after the other), "Ctrl+Enter" (together).
// A key focuses an input or clicks anything else. "?" shows the map, filled from the same attributes.
//
// A scanner is a keyboard too, and types faster than any hand. So a letter waits BURST_MS for the next one before it acts:
// what comes in a burst is a barcode and goes to the scan box, with its Enter, and never presses a button by accident.
import { isFilling, scanBox, scanned } from "./scan.js";

const BURST_MS = 45;
const SHORTEST_BARCODE = 4;
const SEQUENCE_MS = 1200;
const FIELD = "input:not([type=hidden]), select, textarea";

let burst = "";
let burstTimer = 0;
let pending = "";
let pendingSince = 0;
let unclaimed = ""; // letters that no key of the page wanted: the beginning of a code typed by a slow hand
let unclaimedSince = 0;

export function startKeyboard(root) {
  root.addEventListener("keydown", onKey, true); // before the pages' own handlers: an Enter that ends a scan is ours
  for (const opener of root.querySelectorAll("[data-open-dialog]")) {
    opener.addEventListener("click", () => openMap(root, opener.dataset.openDialog));
  }
}

function onKey(event) {
  if (event.isComposing || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const character = event.key.length === 1 && !event.ctrlKey;
  if (burst && (character || event.key === "Enter")) {
    take(event);
    if (character) extend(event.key);
    else endWithEnter();
  } else if (isFilling(event.target)) {
    if (event.key === "Escape" && event.target.ariaExpanded !== "true") event.target.blur(); // keys are commands again
    if (event.ctrlKey || /^F\d+$/.test(event.key)) act(nameOf(event), event);
  } else if (!character) {
    if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
    act(nameOf(event), event);
  } else if (/^\d$/.test(event.key) && !find(event.key)) {
    beginCode(scanBox(document)); // the digit itself then lands in the box
  } else if (event.key !== " ") {
    take(event);
    extend(event.key);
  }
}

// "B100009" by hand: the B was nobody's key, the 1 goes to the box, and the B before it.
function beginCode(box) {
  if (!box) return;
  if (unclaimed && box.value === "" && performance.now() - unclaimedSince < SEQUENCE_MS) box.value = unclaimed;
  unclaimed = "";
  box.focus({ preventScroll: true });
}

function take(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function extend(character) {
  burst += character;
  clearTimeout(burstTimer);
  burstTimer = setTimeout(endByTime, BURST_MS);
}

function endByTime() {
  const typed = burst;
  burst = "";
  if (typed.length >= SHORTEST_BARCODE) {
    scanned(document, typed, { submit: false });
  } else {
    for (const key of typed) command(key);
  }
}

function endWithEnter() {
  clearTimeout(burstTimer);
  const typed = burst;
  burst = "";
  if (typed.length > 1) scanned(document, typed, { submit: true });
  else command(typed);
}

// A key typed by hand: what the page declared for it, else a character for the scan box.
function command(key) {
  const now = performance.now();
  const typed = pending && now - pendingSince < SEQUENCE_MS ? `${pending} ${key}` : key;
  const target = find(typed) || find(key);
  if (target) {
    pending = "";
    press(target);
  } else if (isPrefix(key)) {
    pending = key;
    pendingSince = now;
  } else {
    pending = "";
    const box = scanBox(document);
    if (box && box === document.activeElement) {
      scanned(document, key, { submit: false });
    } else {
      unclaimed = now - unclaimedSince < SEQUENCE_MS ? unclaimed + key : key;
      unclaimedSince = now;
    }
  }
}

function act(name, event) {
  const target = find(name);
  if (!target) return;
  take(event);
  press(target);
}

function press(target) {
  if (target.matches("input, textarea, select")) {
    target.focus();
    target.select?.();
  } else {
    target.click();
    if (target.matches("details[open] > summary")) target.parentElement.querySelector(FIELD)?.focus();
  }
}

function nameOf(event) {
  return event.ctrlKey ? `Ctrl+${event.key.length === 1 ? event.key.toLowerCase() : event.key}` : event.key;
}

function find(name) {
  for (const each of document.querySelectorAll("[data-key]")) {
    if (each.dataset.key === name && !each.disabled && each.offsetParent !== null) return each;
  }
  return null;
}

function isPrefix(key) {
  return [...document.querySelectorAll("[data-key]")].some((each) => each.dataset.key.startsWith(`${key} `));
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
