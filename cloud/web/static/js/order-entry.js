// Picking panels and tests by keyboard: type, arrows choose, Enter adds, Backspace in an empty box takes the last one away.
// The offers come from the server as list items; what is picked is hidden inputs of the form.
const TYPING_MS = 120;

for (const desk of document.querySelectorAll("[data-order-entry]")) start(desk);

function start(desk) {
  const picker = desk.querySelector("[data-picker]");
  const box = picker.querySelector("input");
  const list = picker.querySelector("[role=listbox]");
  const picked = desk.querySelector("[data-picked]");
  const form = desk.querySelector("form");
  let timer = 0;
  let asked = 0;
  let offered = ""; // what the offers on the screen were made for

  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => offer(), TYPING_MS);
  });
  box.addEventListener("keydown", (event) => onKey(event));
  box.addEventListener("blur", () => setTimeout(close, 150)); // a click on an offer comes first
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    add(event.target.closest("[data-code]"));
    box.value = "";
    close();
  });
  picked.addEventListener("click", (event) => event.target.closest("button")?.parentElement.remove());

  async function offersFor(text) {
    const answer = await fetch(`${picker.dataset.search}?q=${encodeURIComponent(text)}`);
    return answer.ok ? answer.text() : "";
  }

  async function offer() {
    const mine = ++asked;
    const text = box.value.trim();
    if (!text) return close();
    const offers = await offersFor(text);
    if (mine !== asked) return;
    show(offers, text);
  }

  function show(offers, text) {
    list.innerHTML = offers;
    offered = text;
    box.setAttribute("aria-expanded", "true");
    mark(list.querySelector("[data-code]"));
  }

  function onKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && !event.ctrlKey) {
      event.preventDefault(); // Enter adds; the form is sent with Ctrl+Enter or its button
      remember(take(box.value.trim()));
    } else if (event.key === "Backspace" && box.value === "") {
      picked.lastElementChild?.remove();
    } else if (event.key === "Escape") {
      close();
    }
  }

  // Sending waits for words that are still being looked up.
  const open = new Set();
  function remember(lookup) {
    open.add(lookup);
    lookup.finally(() => open.delete(lookup));
  }
  form.addEventListener("submit", (event) => {
    if (open.size === 0) return;
    event.preventDefault();
    Promise.allSettled([...open]).then(() => form.requestSubmit());
  });

  // The box is emptied at once, so that the next word can be typed while the first offer of this one is still asked for.
  async function take(text) {
    if (!text) return;
    clearTimeout(timer);
    const chosen = offered === text ? list.querySelector("[aria-selected=true]") : null;
    box.value = "";
    close();
    if (chosen) return add(chosen);
    const place = document.createElement("li"); // keeps the order in which they were typed
    place.textContent = text;
    picked.append(place);
    const answer = document.createElement("ul");
    answer.innerHTML = await offersFor(text);
    const first = answer.querySelector("[data-code]");
    if (first) add(first, place);
    else if (box.value === "") {
      box.value = text;
      show(answer.innerHTML, text);
    }
    place.remove();
  }

  function move(step) {
    const offers = [...list.querySelectorAll("[data-code]")];
    const at = offers.findIndex((each) => each.getAttribute("aria-selected") === "true");
    mark(offers[(at + step + offers.length) % offers.length]);
  }

  function mark(offer) {
    for (const each of list.querySelectorAll("[aria-selected]")) each.removeAttribute("aria-selected");
    if (!offer) return box.removeAttribute("aria-activedescendant");
    offer.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", offer.id);
  }

  function add(offer, before = null) {
    if (!offer) return;
    const { code, name } = offer.dataset;
    if (!picked.querySelector(`[data-code="${CSS.escape(code)}"]`)) picked.insertBefore(line(code, name), before);
  }

  function line(code, name) {
    const item = document.createElement("li");
    item.dataset.code = code;
    const text = document.createElement("span");
    text.textContent = name;
    const input = Object.assign(document.createElement("input"), { type: "hidden", name: "items", value: code });
    input.setAttribute("form", form.id);
    const time = Object.assign(document.createElement("input"), { type: "text", name: "times", maxLength: 80, className: "form-control picked-time" });
    time.setAttribute("form", form.id);
    time.setAttribute("list", "usual-times");
    time.placeholder = picked.dataset.timeLabel || "";
    time.setAttribute("aria-label", `${picked.dataset.timeLabel} ${name}`);
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    button.setAttribute("aria-label", `${picked.dataset.removeLabel} ${name}`);
    item.append(text, input, ...(picked.dataset.timeLabel ? [time] : []), button);
    return item;
  }

  desk.dataset.ready = "";

  function close() {
    asked += 1;
    offered = "";
    list.replaceChildren();
    box.setAttribute("aria-expanded", "false");
  }
}
