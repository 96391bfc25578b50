// The pay page: asks WeChat's or Alipay's web view to take the money. What they answer is no proof; the server asks the
// channel, and this page waits for its word.
(() => {
  "use strict";
  const page = document.querySelector("[data-pay]");
  if (!page) return;
  const button = page.querySelector("[data-pay-now]");
  const phone = page.dataset.phone ? JSON.parse(page.dataset.phone) : null;
  const POLL_S = [0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 8, 8, 10];
  let polling = false;

  const say = (what) => {
    for (const each of page.querySelectorAll("[data-say]")) each.hidden = each.dataset.say !== what;
  };
  const busy = (on) => {
    if (button) button.disabled = on;
  };
  const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

  const stand = async () => {
    const answer = await fetch(page.dataset.stand + "?asked=1", { headers: { Accept: "application/json" } });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };

  const check = async () => {
    if (polling) return;
    polling = true;
    busy(true);
    say("checking");
    for (const seconds of POLL_S) {
      await wait(seconds);
      try {
        const found = await stand();
        if (!found) return;
        if (found.stage === "paid" || found.stage === "late") return location.replace(found.next);
        if (found.stage !== page.dataset.stage) return location.replace(location.pathname);
        say("checking");
      } catch {
        say("offline");
      }
    }
    say("waiting");
    busy(false);
    polling = false;
  };

  const refused = (word) => {
    busy(false);
    say(word);
    if (word === "failed") check();
  };

  const byWechat = () =>
    WeixinJSBridge.invoke("getBrandWCPayRequest", phone, (answer) => {
      const said = (answer && answer.err_msg) || "";
      if (said.endsWith(":ok")) check();
      else refused(said.endsWith(":cancel") ? "cancelled" : "failed");
    });

  const byAlipay = () =>
    AlipayJSBridge.call("tradePay", { tradeNO: phone.tradeNO }, (answer) => {
      const said = String((answer && answer.resultCode) || "");
      if (["9000", "8000", "6004"].includes(said)) check();
      else refused(said === "6001" || said === "99" ? "cancelled" : "failed");
    });

  const whenReady = (bridge, event, act) => {
    if (window[bridge]) return act();
    const late = setTimeout(() => refused("elsewhere"), 3000);
    document.addEventListener(event, () => { clearTimeout(late); act(); }, { once: true });
  };

  const pay = () => {
    busy(true);
    say("");
    if (phone.page) location.assign(phone.page);
    else if (page.dataset.channel === "alipay") whenReady("AlipayJSBridge", "AlipayJSBridgeReady", byAlipay);
    else whenReady("WeixinJSBridge", "WeixinJSBridgeReady", byWechat);
  };

  const countdown = () => {
    const shown = page.querySelector("[data-countdown]");
    if (!shown) return;
    // The phone's clock may be wrong: only the time since the page was made is counted on it.
    const rest = (Date.parse(page.dataset.until) - Date.parse(page.dataset.now)) / 1000;
    const began = performance.now();
    const tick = () => {
      const left = Math.floor(rest - (performance.now() - began) / 1000);
      if (left <= 0) return polling ? undefined : location.replace(location.pathname);
      shown.textContent = `(${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")})`;
      setTimeout(tick, 1000);
    };
    tick();
  };

  if (button && phone) {
    button.addEventListener("click", pay);
    countdown();
  }
  const look = page.querySelector("[data-check]");
  if (look) look.addEventListener("click", (event) => { event.preventDefault(); check(); });
  // Back from the cashier by the phone's own "back": the page comes out of the browser's memory as it was.
  window.addEventListener("pageshow", (event) => { if (event.persisted) { polling = false; check(); } });
  if ("cameBack" in page.dataset || page.dataset.stage === "closing") check();
})();
