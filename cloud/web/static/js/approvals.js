// The approvals page: "choose all" turns every line on, or off again; how many are chosen is shown.
for (const form of document.querySelectorAll("[data-approvals]")) start(form);

function start(form) {
  const all = form.querySelector("[data-all]");
  const shown = form.querySelector("[data-chosen]");
  const boxes = () => [...form.querySelectorAll("input[name=lines]:not(:disabled)")];
  const count = () => {
    if (shown) shown.textContent = boxes().filter((each) => each.checked).length;
  };
  all?.addEventListener("click", () => {
    const some = boxes().some((each) => !each.checked);
    for (const each of boxes()) each.checked = some;
    count();
  });
  form.addEventListener("change", count);
  count();
}
