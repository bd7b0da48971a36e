// Ages that tick, polls that rest in hidden tabs, and a word when the server cannot be reached.
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

  // A clock that goes wrong here does not make anything older or younger than the server says.
  const ahead = Date.now() - spoken.at * 1000;
  const wrong = Math.abs(ahead) > 10000 ? ahead : 0;

  const tick = () => {
    for (const time of document.querySelectorAll("time[data-ago], time[data-elapsed]")) {
      const gone = (Date.now() - wrong - Date.parse(time.dateTime)) / 1000;
      const words = time.hasAttribute("data-elapsed") ? span(gone) : gone < 2 ? spoken.now : spoken.ago.replace("{}", span(gone));
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, 1000);

  // A tab nobody looks at asks twice a minute; it asks at once when somebody looks again.
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

  const say = (words) => { document.getElementById("said").textContent = words; };
  const away = (isAway) => {
    const notice = document.getElementById("reconnecting");
    if (notice.hidden !== isAway) return;
    notice.hidden = !isAway;
    if (isAway) say(notice.textContent.trim());
  };
  // What is no longer there for this person is not lost: the page itself says so when asked anew.
  const GONE = [403, 404, 410];
  document.addEventListener("htmx:responseError", (event) => {
    if (GONE.includes(event.detail.xhr.status) && event.target.matches("[data-poll]")) window.location.reload();
    else away(true);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, () => away(true));
  // What the browser knows at once need not wait for the next question.
  window.addEventListener("offline", () => away(true));
  window.addEventListener("online", () => {
    const poll = document.querySelector("[data-poll]");
    if (poll) window.htmx.trigger(poll, "seen");
    else away(false);
  });
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.xhr.status < 400) { away(false); tick(); }
  });

  // What matters and has changed is said once, politely: a verdict, a headline, how many were found.
  const told = () => new Map([...document.querySelectorAll("[data-say]")].map((one) => [one.dataset.say, one.textContent.trim()]));
  let known = told();
  document.addEventListener("htmx:afterSettle", () => {
    const now = told();
    const news = [...now].filter(([what, words]) => known.get(what) !== words).map(([, words]) => words);
    known = now;
    if (news.length) say(news.join(" "));
  });

  // The tab says what the page says, so that it can be left in the background.
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

  // How many hubs are chosen stands on the button that goes on with them.
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

  // A new household is likely where its browser is; what somebody chose stays.
  const zone = document.querySelector("select[data-guess-zone]");
  if (zone?.selectedOptions[0]?.defaultSelected) {
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...zone.options].some((option) => option.value === here)) zone.value = here;
  }

  // "/" goes to the search, as on many lists, unless this person does not want keys that act alone.
  const search = document.querySelector("input[type=search]");
  if (search && "searchKey" in spoken) {
    search.setAttribute("aria-keyshortcuts", "/");
    document.addEventListener("keydown", (event) => {
      const { key, target, altKey, ctrlKey, metaKey } = event;
      if (key !== "/" || altKey || ctrlKey || metaKey || target.closest("input, textarea, select")) return;
      event.preventDefault();
      search.focus();
    });
  }
})();
