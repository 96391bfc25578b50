// A note that a server's answer put into #toasts goes away by itself; an error stays until clicked.
const SHOWN_MS = 4000;

export function startToasts(root) {
  const place = root.getElementById("toasts");
  if (!place) return;
  const tend = (note) => {
    note.addEventListener("click", () => note.remove());
    if (!note.classList.contains("tone-bad")) setTimeout(() => note.remove(), SHOWN_MS);
  };
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node instanceof HTMLElement) tend(node);
      }
    }
  }).observe(place, { childList: true });
}
