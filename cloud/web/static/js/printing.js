// The print room: rows are walked with j and k, chosen with the space bar, all with "a"; how many are chosen is shown.
// When the list is fetched again because somebody printed, what was chosen stays chosen.
const form = document.querySelector("[data-print-room]");
if (form) start(form);

function start(form) {
  const shown = () => form.querySelector("[data-chosen]");
  const boxes = () => [...form.querySelectorAll("input[name=report]")];
  const rows = () => [...form.querySelectorAll("tr[data-report]")];
  let kept = new Set();
  let at = "";

  const count = () => {
    const number = boxes().filter((each) => each.checked).length;
    if (shown()) shown().textContent = number;
    for (const each of form.querySelectorAll("[data-needs-choice]")) each.disabled = number === 0;
  };
  const go = (step) => {
    const all = rows();
    const now = all.findIndex((each) => each.dataset.report === at);
    const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
    if (next) mark(next.dataset.report, true);
  };
  const mark = (report, scroll) => {
    at = report;
    for (const each of rows()) each.classList.toggle("is-current", each.dataset.report === at);
    const row = rows().find((each) => each.dataset.report === at);
    if (row && scroll) row.scrollIntoView({ block: "nearest" });
  };
  const acts = {
    next: () => go(1),
    previous: () => go(-1),
    toggle: () => {
      const box = boxes().find((each) => each.value === at);
      if (box) box.checked = !box.checked;
      go(1);
    },
    all: () => {
      const some = boxes().some((each) => !each.checked);
      for (const each of boxes()) each.checked = some;
    },
  };
  form.addEventListener("click", (event) => {
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (!act) return;
    event.preventDefault();
    acts[act]();
    count();
  });
  form.addEventListener("change", count);
  form.addEventListener("htmx:before:swap", () => {
    kept = new Set(boxes().filter((each) => each.checked).map((each) => each.value));
  });
  form.addEventListener("htmx:after:swap", () => {
    for (const each of boxes()) each.checked ||= kept.has(each.value);
    mark(at, false);
    count();
  });
  mark(boxes().find((each) => each.checked)?.value ?? rows()[0]?.dataset.report ?? "", false);
  count();
}
