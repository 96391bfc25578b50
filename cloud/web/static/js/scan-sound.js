// A tube scanned: one high tone when it went well, two low ones when not, so that nobody has to look up from the rack.
// The box is emptied and focused again whatever came of it.
const GOOD = [[1320, 0.09]];
const BAD = [
  [220, 0.18],
  [220, 0.24],
];

const form = document.querySelector("[data-tube-scan]");
const result = document.getElementById("scan-result");
let sound = null;

if (form && result) {
  form.addEventListener("submit", () => (sound ||= new AudioContext())); // browsers give sound only after a key or a click
  // Enter after a tube's own barcode leads to the order's label, it does not send the form yet.
  form.elements.preprinted?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.elements.code.focus();
  });
  new MutationObserver(() => outcome()).observe(result, { childList: true });
}

function outcome() {
  const found = result.querySelector("[data-outcome]");
  if (!found) return;
  play(found.dataset.outcome === "good" ? GOOD : BAD);
  form.elements.code.value = "";
  if (form.elements.preprinted) form.elements.preprinted.value = "";
  form.elements.code.focus({ preventScroll: true });
}

function play(tones) {
  if (!sound) return;
  let at = sound.currentTime;
  for (const [pitch, seconds] of tones) {
    const tone = sound.createOscillator();
    const volume = sound.createGain();
    tone.frequency.value = pitch;
    volume.gain.value = 0.2;
    tone.connect(volume).connect(sound.destination);
    tone.start(at);
    tone.stop(at + seconds);
    at += seconds + 0.06;
  }
}
