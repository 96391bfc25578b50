// The scanner is a keyboard that types fast and ends with Enter. Wherever the focus lies (except in a field somebody is
// filling), what it types goes to the page's scan box, and Enter submits the box's form.
// The box nearest to the work wins: one inside <main> before the one in the bar.

export function startScanning(root) {
  focusBox(root);
  root.addEventListener("keydown", (event) => redirect(root, event));
  root.addEventListener("htmx:after:swap", () => {
    if (!isFilling(document.activeElement)) focusBox(root);
  });
}

export function scanBox(root) {
  return root.querySelector("main [data-scan-box]") || root.querySelector("[data-scan-box]");
}

function focusBox(root) {
  const box = scanBox(root);
  if (!box || box.disabled || isFilling(document.activeElement)) return;
  if (root.querySelector("[autofocus]") && root.querySelector("[autofocus]") !== box) return;
  box.focus({ preventScroll: true });
}

function redirect(root, event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  if (!/^[0-9]$/.test(event.key)) return; // letters are commands; barcodes here begin with a digit
  if (isFilling(document.activeElement) || document.querySelector("dialog[open]")) return;
  const box = scanBox(root);
  if (!box || box === document.activeElement) return;
  box.value = "";
  box.focus({ preventScroll: true }); // the key's own character then lands in the box
}

function isFilling(element) {
  return (
    element instanceof HTMLElement &&
    element.matches("input, textarea, select, [contenteditable]") &&
    !("scanBox" in element.dataset)
  );
}
