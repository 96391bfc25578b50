// The self-service machine. A scanner or card reader types fast and ends with Enter: what comes so goes to the scan form
// of the first screen. Untouched for data-idle seconds, the screen goes back to the beginning; the page's own refresh does
// so too, should this script not run.
const BURST_MS = 80;
const SHORTEST = 4;
const FINISHED_S = 12;

const scanner = document.querySelector("[data-scanner]");
let burst = "";
let last = 0;

document.addEventListener(
  "keydown",
  (event) => {
    touched();
    if (!scanner || event.ctrlKey || event.altKey || event.metaKey) return;
    const now = event.timeStamp;
    if (now - last > BURST_MS) burst = "";
    last = now;
    if (event.key.length === 1) burst += event.key;
    if (event.key === "Enter" && burst.length >= SHORTEST) {
      event.preventDefault();
      event.stopPropagation();
      scanner.elements.code.value = burst;
      burst = "";
      scanner.submit();
    }
  },
  true,
);

for (const pad of document.querySelectorAll("[data-keypad]")) {
  const shown = pad.querySelector("[data-keypad-shown]");
  pad.addEventListener("click", (event) => {
    const key = event.target.closest("button");
    if (!key || key.type === "submit") return;
    if ("erase" in key.dataset) shown.value = shown.value.slice(0, -1);
    else if (shown.value.length < shown.maxLength) shown.value += key.dataset.digit;
  });
}

// Idle: only where a patient's things are on the screen.
const idle = Number(document.body.dataset.idle || 0);
let timer = 0;
function touched() {
  if (!idle) return;
  clearTimeout(timer);
  const finished = document.querySelector("[data-finished]");
  timer = setTimeout(() => location.replace("/kiosk"), 1000 * (finished ? Math.min(FINISHED_S, idle) : idle));
}
for (const name of ["pointerdown", "touchstart"]) document.addEventListener(name, touched, true);
document.addEventListener("htmx:after:swap", touched);
addEventListener("pageshow", (event) => {
  if (event.persisted) location.replace("/kiosk"); // a page from the browser's memory is somebody else's
});
touched();
document.documentElement.dataset.ready = "true";
