// The review page: rows by j and k, the queue by n and p, Enter releases, results arrive live.
// What the page may do stands in its HTML (forms and buttons); this module moves the selection and presses them.
const DEBOUNCE_MS = 250;
const DETAIL_MS = 90;

const page = document.querySelector("[data-review]");
let selected = 0;

const rows = () => [...page.querySelectorAll("[data-row]")];

// A value and what else was measured for it: the rows until the next value.
function family(row) {
  const found = [row];
  for (let next = row.nextElementSibling; next && !next.matches("[data-row]"); next = next.nextElementSibling) found.push(next);
  return found;
}

function select(index) {
  const all = rows();
  if (!all.length) return;
  selected = Math.max(0, Math.min(index, all.length - 1));
  all.forEach((row, at) => {
    const mine = at === selected;
    row.setAttribute("aria-selected", String(mine));
    // Only the selected row's buttons answer to keys; "?" then lists each key once.
    for (const member of family(row)) {
      member.toggleAttribute("data-of-selected", mine);
      for (const button of member.querySelectorAll("[data-row-key]")) {
        if (mine) button.dataset.key = button.dataset.rowKey;
        else delete button.dataset.key;
      }
    }
  });
  all[selected].scrollIntoView({ block: "nearest" });
  showDetail(all[selected].dataset.detailUrl);
}

// What stands behind the selected value. A hand that holds j down asks once, for the row it stops on.
let detailShown = "";
let detailTimer = 0;

function showDetail(url) {
  if (!url) return;
  clearTimeout(detailTimer);
  detailTimer = setTimeout(async () => {
    const version = page.querySelector("[data-version]")?.dataset.version;
    const wanted = `${url}#${version}`;
    const place = page.querySelector("[data-detail]");
    if (!place || (wanted === detailShown && place.firstChild)) return;
    const html = await part(url);
    if (html === null || rows()[selected]?.dataset.detailUrl !== url) return;
    place.innerHTML = html;
    detailShown = wanted;
  }, DETAIL_MS);
}

// Where one begins to look: the first critical value, else the first that was held, else the first.
function worst() {
  const first = (mark) => rows().findIndex((row) => row.matches(mark));
  return [first(".is-critical"), first(".is-held")].find((at) => at >= 0) ?? 0;
}

function step(by) {
  const entries = [...page.querySelectorAll("[data-specimen-row]")];
  if (!entries.length) return;
  const at = entries.findIndex((entry) => entry.classList.contains("is-current"));
  const next = at < 0 ? entries[0] : entries[at + by];
  next?.querySelector("a").click();
}

function openDialog(button) {
  const dialog = page.querySelector(`[data-dialog="${button.dataset.open}"]`);
  const form = dialog.querySelector("form");
  const reason = form.elements.namedItem("reason");
  if (button.dataset.open === "enter") reason.required = Boolean(button.dataset.has);
  for (const field of dialog.querySelectorAll("[data-field]")) field.value = button.dataset[field.dataset.field] || "";
  dialog.querySelector("[data-dialog-label]").textContent = button.dataset.label || "";
  const unit = dialog.querySelector("[data-dialog-unit]");
  if (unit) unit.textContent = button.dataset.unit || "";
  dialog.showModal();
  (dialog.querySelector("[data-first]") || reason)?.focus();
}

function onClick(event) {
  const button = event.target.closest("button, [data-row]");
  if (!button) return;
  if (button.dataset.move) select(selected + Number(button.dataset.move));
  else if (button.dataset.step) step(Number(button.dataset.step));
  else if (button.dataset.open) openDialog(button);
  else if ("close" in button.dataset) button.closest("dialog").close();
  else if ("showFresh" in button.dataset) refreshSheet(true);
  else if (button.matches("[data-row]")) select(rows().indexOf(button));
  if ("rowKey" in button.dataset && button.form?.id === "rerun-form") {
    button.form.querySelector("[data-withdraw-field]").value = String("withdraw" in button.dataset);
  }
}

// Enter releases only when nothing else owns it: no field, button, link or dialog has the focus.
function onKey(event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  const holder = document.activeElement;
  const emptyScan = holder && "scanBox" in holder.dataset && holder.value === "";
  const confirming = holder?.name === "confirm_critical";
  const free = confirming || !holder || holder === document.body || "results" in holder.dataset || holder.id === "content";
  if (event.key === "Enter" && (free || emptyScan)) {
    const release = page.querySelector("[data-release]");
    if (release || emptyScan || confirming) event.preventDefault();
    release?.click();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (free || emptyScan)) {
    event.preventDefault();
    select(selected + (event.key === "ArrowDown" ? 1 : -1));
  }
}

// One submit is one act: a key held down or a double scan of Enter does not send it twice.
function onSubmit(event) {
  const form = event.target;
  if (form.dataset.sent) event.preventDefault();
  else if (form.method === "post") form.dataset.sent = "1";
}

async function part(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  return answer.ok ? answer.text() : null;
}

async function refreshQueue() {
  const html = await part(page.dataset.queueUrl);
  if (html === null) return;
  page.querySelector("[data-queue]").innerHTML = html;
}

async function refreshSheet(asked) {
  const sheet = page.querySelector("[data-sheet]");
  const busy = document.querySelector("dialog[open]") || page.querySelector("[data-sheet] input:checked");
  const notice = page.querySelector("[data-fresh]");
  if (busy && !asked) {
    notice.hidden = false;
    return;
  }
  const html = await part(page.dataset.sheetUrl);
  if (html === null) return;
  const focused = document.activeElement?.closest("[data-sheet]") || document.activeElement === document.body;
  sheet.innerHTML = html;
  notice.hidden = true;
  select(selected);
  if (focused) page.querySelector("[data-results]")?.focus({ preventScroll: true });
}

function listen() {
  const timers = new Map();
  const soon = (name, act) => {
    clearTimeout(timers.get(name));
    timers.set(name, setTimeout(act, DEBOUNCE_MS));
  };
  const stream = new EventSource(page.dataset.live);
  stream.addEventListener("results", (event) => {
    soon("queue", refreshQueue);
    const { specimen } = JSON.parse(event.data);
    if (page.dataset.specimen && (specimen ?? page.dataset.specimen) === page.dataset.specimen) soon("sheet", () => refreshSheet(false));
  });
  window.addEventListener("pagehide", () => stream.close());
}

if (page) {
  page.addEventListener("click", onClick);
  page.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey, true);
  for (const form of document.querySelectorAll("[data-auto-submit]")) {
    form.addEventListener("change", () => form.submit());
  }
  select(worst());
  page.querySelector("[data-results]")?.focus({ preventScroll: true });
  page.querySelector("[data-queue] .is-current")?.scrollIntoView({ block: "nearest" });
  listen();
}
