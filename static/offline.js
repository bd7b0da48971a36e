// How long ago the list was kept, by this device's clock, and a new try when the connection is back.
(() => {
  "use strict";

  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "always" });
  const tick = () => {
    for (const age of document.querySelectorAll("[data-age]")) {
      const gone = Math.floor((Date.now() - Date.parse(age.dataset.age)) / 1000);
      const [unit, size] = UNITS.find(([, seconds]) => gone >= seconds) ?? UNITS.at(-1);
      // a clock that is behind the server's knows no age
      age.textContent = gone < 0 ? "" : `(${words.format(-Math.floor(gone / size), unit)})`;
    }
  };
  tick();
  setInterval(tick, 1000);
  // a device says that it is online a little before it is, and not that the server is there again
  const again = async () => {
    try {
      if (navigator.onLine && (await fetch("/healthz", { cache: "no-store" })).ok) window.location.reload();
    } catch { /* not yet */ }
  };
  window.addEventListener("online", again);
  setInterval(again, 5000);
})();
