// What tests/support/accessible.py asks of a page; gives the barriers it finds, in words.
() => {
  const found = [];
  const shown = (each) => { const box = each.getBoundingClientRect(); return box.width > 0 && box.height > 0 && getComputedStyle(each).visibility !== "hidden"; };
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (each) => { for (let at = each; at; at = at.parentElement) { const colour = rgb(getComputedStyle(at).backgroundColor); if (colour.length === 3 || colour[3] > 0.99) return colour; } return [255, 255, 255]; };
  const said = (each) => each.tagName.toLowerCase() + " " + (each.textContent || each.getAttribute("name") || "").trim().slice(0, 30);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const each = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(each) || !shown(each) || each.closest("script, noscript, style, .phone-skip, [aria-hidden=true]")) continue;
    seen.add(each);
    const style = getComputedStyle(each);
    const [one, two] = [light(rgb(style.color)), light(ground(each))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < least) found.push(`contrast ${ratio.toFixed(2)}: ${said(each)}`);
  }
  for (const each of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (!shown(each) || each.matches(".phone-skip")) continue;
    const box = (each.closest("label") || each).getBoundingClientRect();
    const inline = each.tagName === "A" && getComputedStyle(each).display === "inline";
    if (!inline && (box.width < 24 || box.height < 24)) found.push(`too small to tap: ${said(each)}`);
    const named = (each.textContent || "").trim() || each.getAttribute("aria-label") || (each.labels && each.labels.length) || each.querySelector("img[alt]:not([alt=''])");
    if (!named) found.push(`without a name: ${said(each)}`);
  }
  for (const each of document.querySelectorAll("img:not([alt])")) found.push(`picture without words: ${each.src}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (!document.documentElement.lang) found.push("no language");
  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  return found;
}
