// <details data-menu> closes when one clicks elsewhere or presses Escape.

export function startMenus(root) {
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
