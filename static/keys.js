// Single keys for lists, for people who did not switch them off: / j k x ? and Enter.
(() => {
  "use strict";

  const search = document.querySelector("input[type=search]");
  search?.setAttribute("aria-keyshortcuts", "/");
  const sheet = document.getElementById("key-sheet");
  const rows = () => [...document.querySelectorAll(".rows tbody tr")].filter((row) => row.querySelector("a.name"));

  // The row that has the focus, or had it last: a row is replaced when it changes.
  let last = "";
  const at = (all) => {
    const row = document.activeElement.closest(".rows tbody tr");
    return all.findIndex((one) => one === row || (!row && last && one.id === last));
  };
  const go = (step) => {
    const all = rows();
    if (!all.length) return;
    const row = all[Math.min(all.length - 1, Math.max(0, at(all) + step))];
    last = row.id;
    row.querySelector("a.name").focus();
    row.scrollIntoView({ block: "nearest" });
  };
  const acts = {
    "/": () => {
      const fold = search.closest("details");
      if (fold && !search.checkVisibility()) fold.open = true;
      search.focus();
    },
    j: () => go(1),
    k: () => go(-1),
    x: () => {
      const all = rows(), row = all[at(all)];
      row?.querySelector("input[type=checkbox]")?.click();
    },
    "?": () => sheet.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const { key, target, altKey, ctrlKey, metaKey } = event;
    if (altKey || ctrlKey || metaKey || !Object.hasOwn(acts, key) || sheet.open) return;
    if (target.closest("input:not([type=checkbox], [type=radio]), textarea, select")) return;
    if (key === "/" && !search) return;
    event.preventDefault();
    acts[key]();
  });
})();
