// Live parts of the box's page. Whatever a line says is written as text, never as HTML.
"use strict";

const NAMES = ("NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB " +
  "ESC FS GS RS US").split(" ");
const MOST_LINES = 400;
const monitor = document.getElementById("monitor");
const main = document.getElementById("main");

function part(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function named(hex) {
  const shown = document.createElement("span");
  shown.className = "text";
  let plain = "";
  const flush = () => { if (plain) shown.append(plain); plain = ""; };
  for (let place = 0; place < hex.length; place += 2) {
    const code = parseInt(hex.substr(place, 2), 16);
    if (code >= 32 && code < 127) { plain += String.fromCharCode(code); continue; }
    flush();
    const name = code < 32 ? NAMES[code] : code === 127 ? "DEL" : hex.substr(place, 2).toUpperCase();
    shown.append(part("b", "", "<" + name + ">"));
  }
  flush();
  return shown;
}

function add(line) {
  const below = monitor.scrollHeight - monitor.scrollTop - monitor.clientHeight < 40;
  monitor.append(line);
  while (monitor.childElementCount > MOST_LINES) monitor.firstElementChild.remove();
  if (below) monitor.scrollTop = monitor.scrollHeight;
}

function watchLine() {
  const hold = document.getElementById("hold");
  const hex = document.getElementById("hex");
  hex.addEventListener("change", () => document.body.classList.toggle("show-hex", hex.checked));
  document.getElementById("clear").addEventListener("click", () => monitor.replaceChildren());
  const source = new EventSource(monitor.dataset.source);
  source.addEventListener("open", () => monitor.dataset.live = "yes");
  source.addEventListener("error", () => {
    if (monitor.dataset.live) add(part("li", "gone", monitor.dataset.gone));
    delete monitor.dataset.live;
  });
  source.addEventListener("bytes", (event) => {
    if (hold.checked) return;
    const piece = JSON.parse(event.data);
    if (piece.lost) add(part("li", "gone", monitor.dataset.lost + " " + piece.lost));
    const line = part("li", piece.in ? "in" : "out", "");
    const bytes = part("span", "hex", piece.hex.toUpperCase().replace(/(..)(?=.)/g, "$1 "));
    line.append(part("time", "", piece.clock), part("span", "from", piece.in ? monitor.dataset.in : monitor.dataset.out));
    line.append(" ", named(piece.hex), bytes);
    add(line);
  });
  source.addEventListener("message", async () => {
    const messages = document.getElementById("messages");
    if (hold.checked) return;
    const answer = await fetch(messages.dataset.source);
    if (answer.ok) messages.innerHTML = await answer.text(); // escaped by the box
  });
}

function watchBox() {
  const source = new EventSource(main.dataset.live);
  source.addEventListener("page", (event) => {
    const focused = document.activeElement && document.activeElement.getAttribute("href");
    main.innerHTML = JSON.parse(event.data).html; // escaped by the box
    const again = focused && main.querySelector("[href=" + JSON.stringify(focused) + "]");
    if (again) again.focus();
  });
}

if (monitor) watchLine();
else if (main && main.dataset.live) watchBox();
