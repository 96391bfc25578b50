// <details data-menu> closes when one clicks elsewhere or presses Escape. On a phone the navigation is a row that scrolls:
// the page one is on is brought into view.

export function startMenus(root) {
  root.querySelector(".desk-nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  const closeAll = (except) => {
    for (const menu of root.querySelectorAll("details[data-menu][open]")) {
      if (menu !== except) menu.open = false;
    }
  };
  root.addEventListener("click", (event) => closeAll(event.target.closest("details[data-menu]")));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeAll(null);
  });
}
