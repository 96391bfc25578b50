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
