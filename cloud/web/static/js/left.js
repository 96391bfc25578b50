// What is left of each session on the page, asked again while somebody looks at it.
(() => {
  "use strict";
  const EVERY_MS = 10000;
  const shown = () => [...document.querySelectorAll("[data-left]")];
  if (!shown().length) return;
  const ask = async () => {
    if (document.hidden) return;
    const query = shown().map((each) => "s=" + encodeURIComponent(each.dataset.left)).join("&");
    const answer = await fetch("/p/book/left?" + query, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const left = await answer.json();
    for (const each of shown()) each.textContent = left[each.dataset.left] ?? each.textContent;
  };
  setInterval(() => ask().catch(() => {}), EVERY_MS);
})();
