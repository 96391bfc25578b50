// Collection at the bedside. Each scan has a number of its own, so that one sent twice is done once. Without a network a
// tube of the patient on the screen is kept in this browser with its moment, and sent when the network is back; what the
// server then refuses stays on the screen until somebody has seen it.
const KEPT = "xinglin.bedside";
const AGAIN_MS = 15000;

const form = document.querySelector("[data-bedside]");
const area = document.getElementById("bedside");
const keptNote = document.querySelector("[data-bedside-kept]");
const refused = document.querySelector("[data-bedside-refused]");
let sending = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const code = form.elements.code.value.trim();
  if (!code) return;
  form.elements.code.value = "";
  scan(code, "");
});

area.addEventListener("click", (event) => {
  const answer = event.target.closest("[data-answer]");
  if (!answer) return;
  const asked = area.querySelector("[data-outcome=ask]");
  if (answer.dataset.answer === "yes") {
    const confirmed = [...asked.querySelectorAll("[data-question]")].map((each) => each.dataset.question).join(",");
    const reason = asked.querySelector("[data-reason]");
    if (reason && !reason.value.trim()) return reason.focus();
    scan(asked.dataset.askedCode, confirmed, reason?.value.trim());
  } else asked.remove();
  form.elements.code.focus({ preventScroll: true });
});

// Enter in the reason's box answers; what reads like a barcode is the next scan and no reason.
area.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || !event.target.matches("[data-reason]")) return;
  event.preventDefault();
  const said = event.target.value.trim();
  if (/^[A-Za-z0-9._/-]{4,}$/.test(said)) scan(said, "");
  else area.querySelector("[data-answer=yes]").click();
});

async function scan(code, confirmed, reason = "") {
  const body = {
    code,
    confirmed,
    reason,
    person_id: area.querySelector("[data-person]")?.dataset.person || "",
    target: area.querySelector("[name=bedside-target]:checked")?.value || "",
    place: form.elements.place.value,
    device: form.elements.device.value,
    submission: crypto.randomUUID ? crypto.randomUUID() : fallbackNumber(),
  };
  const moment = new Date().toISOString();
  try {
    const answer = await post(body);
    area.innerHTML = await answer.text();
    window.htmx?.process(area);
  } catch {
    keepOrRefuse(body, moment);
  }
  (area.querySelector("[data-reason]") || form.elements.code).focus({ preventScroll: true });
}

async function post(body) {
  const data = new URLSearchParams({ ...body, csrf_token: form.elements.csrf_token.value });
  const answer = await fetch(form.action, { method: "POST", body: data, headers: { "HX-Request": "true" } });
  if (answer.status >= 500) throw new Error("unavailable");
  return answer;
}

function keepOrRefuse(body, moment) {
  const tube = [...area.querySelectorAll("[data-specimen]")].find(
    (each) => each.dataset.specimen === body.code || each.dataset.barcode === body.code,
  );
  area.querySelector("[data-outcome]")?.remove();
  if (!tube) return showRefusal(body.code, form.dataset.notHere);
  write([...read(), { ...body, at: moment }]);
  tube.remove();
  showKept();
}

async function sendKept() {
  if (sending || !read().length) return;
  sending = true;
  try {
    while (read().length) {
      const [first, ...others] = read();
      const answer = await post(first);
      const page = document.createElement("div");
      page.innerHTML = await answer.text();
      const outcome = page.querySelector("[data-outcome]");
      if (!outcome || outcome.dataset.outcome !== "good") showRefusal(first.code, outcome?.textContent.trim() || "?");
      write(others);
    }
  } catch {
    // still no network: they stay kept
  }
  sending = false;
  showKept();
}

function showRefusal(code, sentence) {
  const line = document.createElement("li");
  line.textContent = `${code} ${sentence}`;
  line.dataset.refused = code;
  line.addEventListener("click", () => line.remove());
  refused.append(line);
  refused.hidden = false;
}

function showKept() {
  const count = read().length;
  keptNote.hidden = count === 0;
  keptNote.textContent = form.dataset.kept.replace("{n}", count);
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) || "[]");
  } catch {
    return [];
  }
}

function write(kept) {
  localStorage.setItem(KEPT, JSON.stringify(kept));
}

// Pages without TLS have no randomUUID.
function fallbackNumber() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

addEventListener("online", sendKept);
setInterval(sendKept, AGAIN_MS);
showKept();
sendKept();
document.documentElement.dataset.bedsideReady = "";
