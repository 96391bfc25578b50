// A worksheet under the hands: Enter goes one tube down, arrows move, leaving a cell saves it (htmx), a scan goes to the
// tube's row. What a cell may hold is decided by the server; this module only moves the focus.
const table = document.querySelector("[data-worksheet]");

const cellsOf = (row) => [...row.children];
const inputOf = (cell) => cell?.querySelector("input.cell-value");

function move(input, down, right) {
  const cell = input.closest("td");
  const row = cell.parentElement;
  const at = cellsOf(row).indexOf(cell) + right;
  let next = row;
  do {
    if (down) next = down > 0 ? next.nextElementSibling : next.previousElementSibling;
    const target = inputOf(next?.children[at]);
    if (target) {
      target.focus();
      target.select();
      return true;
    }
  } while (down && next);
  return false;
}

// The last tube's Enter goes on at the top of the next test.
function wrap(input) {
  const at = cellsOf(input.closest("tr")).indexOf(input.closest("td")) + 1;
  for (const row of table.tBodies[0].rows) {
    const target = inputOf(row.children[at]);
    if (target) {
      target.focus();
      target.select();
      return;
    }
  }
  input.blur();
}

function onKey(event) {
  const input = event.target.closest("input.cell-value, input.cell-reason");
  if (!input || event.isComposing) return;
  const edge = (side) => (side === "start" ? input.selectionEnd === 0 || input.selectionStart === 0 && input.selectionEnd === input.value.length
    : input.selectionStart === input.value.length || input.selectionStart === 0 && input.selectionEnd === input.value.length);
  if (event.key === "Enter") {
    event.preventDefault();
    if (input.matches(".cell-reason")) input.blur();
    else if (!move(input, event.shiftKey ? -1 : 1, 0)) wrap(input);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (input.hasAttribute("list") && event.altKey) return;
    event.preventDefault();
    move(input, event.key === "ArrowDown" ? 1 : -1, 0);
  } else if (event.key === "ArrowRight" && edge("end")) {
    if (move(input, 0, 1)) event.preventDefault();
  } else if (event.key === "ArrowLeft" && edge("start")) {
    if (move(input, 0, -1)) event.preventDefault();
  } else if (event.key === "Escape") {
    input.value = input.dataset.was || "";
  }
}

// Several lines or columns from a spreadsheet: filled in from here down and to the right, and saved as a whole.
function onPaste(event) {
  const input = event.target.closest("input.cell-value");
  const text = event.clipboardData.getData("text").replace(/\r/g, "").replace(/\n$/, "");
  if (!input || !/[\n\t]/.test(text)) return;
  event.preventDefault();
  const form = document.querySelector("[data-worksheet-form]");
  const at = cellsOf(input.closest("tr")).indexOf(input.closest("td"));
  let row = input.closest("tr");
  for (const line of text.split("\n")) {
    line.split("\t").forEach((value, right) => addTo(form, row?.children[at + right], value.trim()));
    row = row?.nextElementSibling;
  }
  form.submit();
}

function addTo(form, cell, value) {
  const input = inputOf(cell);
  if (!input || !value) return;
  const name = cell.dataset.cell;
  for (const [kind, content] of [["v", value], ["w", input.dataset.was], ["s", cell.querySelector("[name=seen]").value]]) {
    const hidden = document.createElement("input");
    Object.assign(hidden, { type: "hidden", name: `${kind}:${name}`, value: content });
    form.append(hidden);
  }
}

function findRow(code) {
  return table?.querySelector(`tr[data-barcode="${CSS.escape(code)}"], tr[data-accession="${CSS.escape(code)}"]`);
}

function onScan(event) {
  const code = event.target.elements.namedItem("code").value.trim();
  const row = code && findRow(code);
  if (!row) return; // not on this sheet: the server adds it
  event.preventDefault();
  event.target.reset();
  for (const each of table.querySelectorAll(".is-scanned")) each.classList.remove("is-scanned");
  row.classList.add("is-scanned");
  row.scrollIntoView({ block: "nearest" });
  const open = [...row.querySelectorAll("input.cell-value")];
  (open.find((input) => !input.value) || open[0])?.focus();
}

// From the scan box into the grid without a scanner: down, or Enter with nothing scanned, to the first cell that waits.
function firstWaiting() {
  const open = [...table.querySelectorAll("input.cell-value")];
  return open.find((input) => !input.value) || open[0];
}

function onScanKey(event) {
  const empty = event.key === "Enter" && !event.target.value.trim();
  if (event.key !== "ArrowDown" && !empty) return;
  const target = table && firstWaiting();
  if (!target) return;
  event.preventDefault();
  target.focus();
  target.select();
}

table?.addEventListener("keydown", onKey);
document.querySelector(".worksheet-scan")?.addEventListener("keydown", onScanKey);
document.querySelector(".worksheet-scan")?.addEventListener("submit", onScan);
table?.addEventListener("paste", onPaste);
document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
