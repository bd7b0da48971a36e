// The page "This device": push messages, the list for times without a connection, and the app.
(() => {
  "use strict";

  const page = document.getElementById("device");
  const { here, key } = page.dataset;
  const show = (group, state) => {
    for (const one of page.querySelectorAll(`[data-${group}]`)) one.hidden = one.dataset[group] !== state;
  };
  const hasWorkers = "serviceWorker" in navigator;
  const hasPush = hasWorkers && "PushManager" in window && "Notification" in window;
  const isApple = /iPhone|iPad/.test(navigator.userAgent)
    || (navigator.userAgent.includes("Macintosh") && navigator.maxTouchPoints > 1);

  const worker = async () => {
    await navigator.serviceWorker.register("/sw.js");
    return navigator.serviceWorker.ready;
  };
  const ask = async (act) => {
    const registration = await navigator.serviceWorker.getRegistration("/");
    if (!registration?.active) return false;
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => resolve(data);
      registration.active.postMessage({ act }, [port2]);
    });
  };

  const pushState = async () => {
    if (!window.isSecureContext) return "insecure";
    if (!hasPush) return isApple ? "apple" : "unsupported";
    if (Notification.permission === "denied") return "denied";
    const registration = await navigator.serviceWorker.getRegistration("/");
    const subscription = await registration?.pushManager.getSubscription();
    return subscription && here === "yes" ? "on" : "off";
  };
  pushState().then((state) => show("push", state));

  // The browser asks for leave only after this press. What it gives is then sent as a form.
  const form = page.querySelector("form[data-push]");
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      if (await Notification.requestPermission() !== "granted") {
        show("push", "denied");
        return;
      }
      const { pushManager } = await worker();
      await (await pushManager.getSubscription())?.unsubscribe();
      const wish = { userVisibleOnly: true, applicationServerKey: bytes(key) };
      const { endpoint, keys } = (await pushManager.subscribe(wish)).toJSON();
      Object.entries({ endpoint, ...keys }).forEach(([name, value]) => { if (form.elements[name]) form.elements[name].value = value; });
      form.submit();
    } catch (problem) {
      const failed = page.querySelector("[data-push-failed]");
      failed.querySelector("[data-problem]").textContent = problem.name;
      failed.hidden = false;
    }
  });

  const showKept = async () => {
    if (!window.isSecureContext || !hasWorkers) show("kept", "unsupported");
    else show("kept", await ask("state") ? "yes" : "no");
  };
  showKept();
  page.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-do]");
    if (!button) return;
    button.disabled = true;
    if (button.dataset.do === "keep") await worker();
    await ask(button.dataset.do);
    button.disabled = false;
    await showKept();
    page.querySelector("[data-kept]:not([hidden]) button")?.focus();
  });

  // Browsers that can install the app by a press say so; on an iPhone or iPad it is done by hand.
  show("app", isApple ? "apple" : "other");
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    show("app", "press");
    page.querySelector("[data-app=press] button").addEventListener("click", () => event.prompt(), { once: true });
  });
})();
