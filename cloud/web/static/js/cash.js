// Counting cash: what a drawer holds, what the change is, and printing. The server counts again; this only shows.
const yuan = (fen) => `${fen < 0 ? "-" : ""}${Math.floor(Math.abs(fen) / 100)}.${String(Math.abs(fen) % 100).padStart(2, "0")}`;

// "12.5" -> 1250; anything that is no amount -> null
export function fenOf(text) {
  const found = /^(\d{1,9})(?:\.(\d{1,2}))?$/.exec(text.trim());
  return found ? Number(found[1]) * 100 + Number((found[2] || "").padEnd(2, "0")) : null;
}

function count(form) {
  let total = 0;
  for (const box of form.querySelectorAll("[data-piece]")) {
    const pieces = /^\d+$/.test(box.value.trim()) ? Number(box.value) : 0;
    const sum = pieces * Number(box.dataset.piece);
    total += sum;
    box.closest(".count-row").querySelector("[data-piece-sum]").textContent = sum ? yuan(sum) : "";
  }
  const difference = total - Number(form.dataset.expected);
  form.querySelector("[data-count-total]").textContent = `¥ ${yuan(total)}`;
  const shown = form.querySelector("[data-count-difference]");
  shown.textContent = difference > 0 ? `+${yuan(difference)}` : yuan(difference);
  shown.classList.toggle("money-difference", difference !== 0);
}

for (const form of document.querySelectorAll("form[data-count]")) {
  form.addEventListener("input", () => count(form));
  count(form);
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.addEventListener("click", () => window.print());
}

// The till: what the ticked bills come to, and the change for what was handed over.
function till(form) {
  const ticked = [...form.querySelectorAll("[data-fen]")].filter((each) => each.checked);
  const due = ticked.reduce((sum, each) => sum + Number(each.dataset.fen), 0);
  form.querySelector("[data-pay-expected]").value = String(due);
  const sum = form.querySelector("[data-pay-sum]");
  if (!sum) return;
  sum.textContent = `¥ ${yuan(due)}`;
  const tendered = fenOf(form.querySelector("[name=tendered]").value);
  const change = form.querySelector("[data-pay-change]");
  change.textContent = tendered === null ? "" : `¥ ${yuan(tendered - due)}`;
  change.classList.toggle("money-difference", tendered !== null && tendered < due);
}

for (const form of document.querySelectorAll("form[data-pay]")) {
  form.addEventListener("input", () => till(form));
  // A key of the keyboard map focuses a tick box; the same key again, or the space bar, changes it.
  till(form);
}
if (document.querySelector("[data-print-now]")) window.addEventListener("load", () => window.print());
