// What every workstation page starts. Each part looks for its own marks in the page and does nothing without them.
import { startKeyboard } from "./keyboard.js";
import { startScanning } from "./scan.js";
import { startMenus } from "./menu.js";
import { startToasts } from "./toast.js";

startKeyboard(document);
startScanning(document);
startMenus(document);
startToasts(document);
document.documentElement.dataset.ready = "true"; // keys and scanner are heard from here on
