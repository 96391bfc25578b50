// The scan box of a page: the one in <main>, else the one in the bar. Wherever the focus lies (except in a field that
// somebody is filling), what a scanner types ends up there; `keyboard.js` tells scanner from hand.

export function startScanning(root) {
  focusBox(root);
  root.addEventListener("htmx:after:swap", () => {
    if (!isFilling(document.activeElement)) focusBox(root);
  });
}

export function scanBox(root) {
  return root.querySelector("main [data-scan-box]") || root.querySelector("[data-scan-box]");
}

// A field with something in it is being filled; an empty scan box is where keys wait.
export function isFilling(element) {
  if (!(element instanceof HTMLElement) || !element.matches("input, textarea, select, [contenteditable]")) return false;
  if (element.matches("input[type=checkbox], input[type=radio]")) return false;
  return !("scanBox" in element.dataset && element.value === "");
}

export function scanned(root, text, { submit }) {
  const box = scanBox(root);
  if (!box || box.disabled) return;
  box.value = text;
  box.focus({ preventScroll: true });
  box.dispatchEvent(new Event("input", { bubbles: true }));
  if (submit) box.form?.requestSubmit();
}

// Only a box in the page's own content takes the focus; the one in the bar is reached by "/" or by scanning.
function focusBox(root) {
  const box = root.querySelector("main [data-scan-box]");
  const wanted = root.querySelector("[autofocus]");
  if (!box || box.disabled || isFilling(document.activeElement) || (wanted && wanted !== box)) return;
  box.focus({ preventScroll: true });
}
