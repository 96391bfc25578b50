// Demo and tests only: there is no WeChat and no Alipay around the page, so the simulator's cashier takes their place.
(() => {
  "use strict";
  const page = document.querySelector("[data-stand-in]");
  if (!page || !page.dataset.standIn) return;
  const open = () => location.assign(page.dataset.standIn);
  if (page.dataset.channel === "alipay") window.AlipayJSBridge = window.AlipayJSBridge || { call: open };
  else window.WeixinJSBridge = window.WeixinJSBridge || { invoke: open };
})();
