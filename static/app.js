// Ages that tick, polls that rest in hidden tabs, and a notice when the server cannot be reached.
(() => {
  "use strict";

  // The words of the page's language.
  const spoken = document.body.dataset;

  const span = (seconds) => {
    const s = Math.max(0, Math.floor(seconds)), m = Math.floor(s / 60), h = Math.floor(m / 60);
    if (s < 60) return `${s} s`;
    if (m < 10 && s % 60) return `${m} min ${s % 60} s`;
    if (m < 60) return `${m} min`;
    if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
    const days = Math.floor(h / 24);
    return days < 2 ? spoken.day : spoken.days.replace("{}", days);
  };

  // In one unit, for narrow columns.
  const brief = (seconds) => {
    const m = Math.max(0, Math.floor(seconds / 60)), h = Math.floor(m / 60);
    if (m < 60) return `${m} min`;
    return h < 48 ? `${h} h` : spoken.days.replace("{}", Math.floor(h / 24));
  };

  // A clock that goes wrong here does not make anything older or younger than the server says.
  const ahead = Date.now() - spoken.at * 1000;
  const wrong = Math.abs(ahead) > 10000 ? ahead : 0;

  const tick = () => {
    for (const time of document.querySelectorAll("time[data-ago], time[data-elapsed], time[data-brief]")) {
      const gone = (Date.now() - wrong - Date.parse(time.dateTime)) / 1000;
      const words = time.hasAttribute("data-brief") ? brief(gone) : time.hasAttribute("data-elapsed") ? span(gone) : gone < 2 ? spoken.now : spoken.ago.replace("{}", span(gone));
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, 1000);

  // A hidden tab polls twice a minute, and at once when it is shown again.
  const HIDDEN_EVERY_MS = 30000;
  let asked = Date.now();
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!event.target.matches("[data-poll]")) return;
    if (document.hidden && Date.now() - asked < HIDDEN_EVERY_MS) event.preventDefault();
    else asked = Date.now();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const poll of document.querySelectorAll("[data-poll]")) window.htmx.trigger(poll, "seen");
  });

  // What a person unfolded stays so when the part around it is brought up to date.
  window.Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) =>
    !(name === "open" && element.matches("details"));

  const say = (words) => { document.getElementById("said").textContent = words; };
  // What is in the page stays; the server may say itself why it is not brought up to date.
  const away = (isAway, why) => {
    const notice = document.getElementById("reconnecting"), words = notice.querySelector("span");
    notice.dataset.usual ??= words.textContent;
    if (isAway) words.textContent = why || notice.dataset.usual;
    if (notice.hidden !== isAway) return;
    notice.hidden = !isAway;
    if (isAway) say(notice.textContent.trim());
  };
  // An answer without our marker is a proxy's, such as its sign-in page: it never enters this page, and
  // the page is loaded again, so that the proxy can ask. Once a minute at most, should a proxy drop headers.
  const RELOAD_EVERY_MS = 60000;
  const isOurs = (xhr) => xhr.getResponseHeader("HX-Thermacell") === "1";
  const reload = () => {
    const before = Number(window.sessionStorage.getItem("reloaded-at"));
    if (Date.now() - before < RELOAD_EVERY_MS) { away(true); return; }
    window.sessionStorage.setItem("reloaded-at", Date.now());
    window.location.reload();
  };
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const xhr = event.detail.xhr;
    if (isOurs(xhr)) return;
    event.preventDefault();
    if (xhr.status >= 500) away(true);
    else reload();
  });
  // A proxy may also lead to a sign-in on another host, where no script may follow.
  const lookForRedirect = async () => {
    const page = await fetch(window.location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (page.type === "opaqueredirect") reload();
  };
  document.addEventListener("htmx:sendError", () => { lookForRedirect().catch(() => away(true)); });

  // A page that this person may no longer see says so when it is loaded again.
  const GONE = [403, 404, 410];
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    const isSentence = xhr.status === 503 && xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
    if (GONE.includes(xhr.status) && event.target.matches("[data-poll]")) window.location.reload();
    else away(true, isSentence ? xhr.responseText : "");
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, () => away(true));
  // What the browser knows at once need not wait for the next poll.
  window.addEventListener("offline", () => away(true));
  window.addEventListener("online", () => {
    const poll = document.querySelector("[data-poll]");
    if (poll) window.htmx.trigger(poll, "seen");
    else away(false);
  });
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.xhr.status < 400 && isOurs(event.detail.xhr)) { away(false); tick(); }
  });

  // What matters and has changed is announced once: a verdict, a headline, how many were found.
  const announced = () => new Map([...document.querySelectorAll("[data-say]")].map((one) => [one.dataset.say, one.textContent.trim()]));
  let known = announced();
  document.addEventListener("htmx:afterSettle", () => {
    const now = announced();
    const news = [...now].filter(([what, words]) => known.get(what) !== words).map(([, words]) => words);
    known = now;
    if (news.length) say(news.join(" "));
  });

  // The tab's title and icon show the state, so that it can be left in the background.
  const tab = () => {
    const page = document.querySelector("[data-tab]");
    if (!page) return;
    document.title = `${page.dataset.tab} · Thermacell Web`;
    const icon = document.getElementById("favicon");
    const wanted = page.dataset.tabNeeds > 0 ? icon.dataset.attention : icon.dataset.calm;
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
  };
  document.addEventListener("htmx:afterSettle", tab);
  tab();

  // The button shows how many hubs are chosen.
  const countChosen = () => {
    const button = document.querySelector("[data-chosen]");
    if (!button) return;
    button.dataset.none ??= button.textContent;
    const n = document.querySelectorAll("input[form=choose]:checked").length;
    button.textContent = n ? button.dataset.chosen.replace("{}", n) : button.dataset.none;
    button.disabled = !n;
  };
  document.addEventListener("change", countChosen);
  document.addEventListener("htmx:afterSettle", countChosen);
  countChosen();

  // What works only with scripts is shown only with them.
  if (window.PublicKeyCredential) for (const form of document.querySelectorAll("form.needs-script")) form.hidden = false;
  const picker = () => document.querySelector("input[data-picks]");
  const showPicker = () => picker()?.closest("label").removeAttribute("hidden");
  document.addEventListener("htmx:afterSettle", showPicker);
  showPicker();
  document.addEventListener("change", ({ target }) => {
    if (target !== picker()) return;
    for (const one of document.querySelectorAll(`input[form=${target.dataset.picks}]`)) one.checked = target.checked;
    countChosen();
  });

  // A new household is likely in its browser's time zone; a choice that was made stays.
  const zone = document.querySelector("select[data-guess-zone]");
  if (zone?.selectedOptions[0]?.defaultSelected) {
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...zone.options].some((option) => option.value === here)) zone.value = here;
  }

  // A password can be shown while it is typed.
  for (const field of document.querySelectorAll("input[type=password]")) {
    const button = document.createElement("button");
    const set = (isShown) => {
      field.type = isShown ? "text" : "password";
      button.textContent = isShown ? spoken.hide : spoken.show;
      button.setAttribute("aria-pressed", isShown);
    };
    button.type = "button";
    button.className = "plain reveal";
    if (field.id) button.setAttribute("aria-controls", field.id);
    button.addEventListener("click", () => { set(field.type === "password"); field.focus(); });
    field.form?.addEventListener("submit", () => set(false)); // so that browsers offer to keep it
    set(false);
    field.after(button);
  }

  // What is meant to be passed on can be copied, and shared where the device can.
  const passedOn = (button) => {
    const from = document.getElementById(button.dataset.copy ?? button.dataset.share);
    return from ? (from.value ?? from.innerText).trim() : window.location.href;
  };
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy], [data-share]");
    if (!button) return;
    const text = passedOn(button);
    try {
      if ("share" in button.dataset) {
        await navigator.share(/^https?:\S+$/.test(text) ? { url: text } : { text });
      } else {
        await navigator.clipboard.writeText(text);
        button.textContent = button.dataset.done;
        say(button.dataset.done);
      }
    } catch (error) {
      if (error.name !== "AbortError") throw error; // nothing was shared, as the person wished
    }
  });
  const can = { copy: navigator.clipboard, share: navigator.share };
  for (const [what, isThere] of Object.entries(can)) {
    if (isThere) for (const one of document.querySelectorAll(`[data-${what}]`)) one.hidden = false;
  }

  // A menu closes with Escape, and when something beside it is pressed.
  const closeMenus = (but) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== but) menu.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest("details.menu[open]");
    closeMenus();
    menu?.querySelector("summary").focus();
  });
})();
