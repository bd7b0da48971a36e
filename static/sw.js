// What a device does for the product beside its pages: shows push messages, and a page without a
// connection. It is installed only when a person turns one of them on. Pages are never answered from here
// while the server can be reached.
"use strict";

const SHELL = "shell", KEPT = "kept";
const OFFLINE = "/offline/", LIST = "/offline/list/";
// The list is kept again at most this often while pages are opened.
const KEEP_EVERY_MS = 60000;

// Rises when the list is deleted: what was fetched for it before that is not kept any more.
let era = 0;
let keptAt = 0;

const kept = () => caches.match(LIST, { cacheName: KEPT });

const forget = async () => {
  era += 1;
  await caches.delete(KEPT);
};

// Store a page, and the style and script that it names, so that they fit each other.
const store = async (name, path, answer) => {
  const began = era, cache = await caches.open(name);
  const text = await answer.clone().text();
  const files = new Set([...text.matchAll(/"(\/static\/[^"]+)"/g)].map(([, file]) => file));
  await Promise.all([...files].map(async (file) => {
    const found = await fetch(file);
    if (found.ok) await cache.put(file, found);
  }));
  if (name === KEPT && began !== era) return caches.delete(KEPT);
  await cache.put(path, answer);
  return name === KEPT && began !== era ? caches.delete(KEPT) : true;
};

// Fetch and keep the list; true when it is kept. The sign-in page, a refusal, or an answer for another person
// deletes it. Any other answer changes nothing: the server, or what is before it, may only be busy.
const keep = async (owner) => {
  const began = era;
  let answer;
  try {
    answer = await fetch(LIST, { redirect: "manual", cache: "no-store" });
  } catch {
    return false;
  }
  if (began !== era) return false;
  const whose = answer.ok ? answer.headers.get("Kept-For") : null;
  // the list leads nowhere but to the sign-in page
  const isRefused = answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403;
  if (isRefused || (owner && whose && owner !== whose)) await forget();
  else if (whose) return storeList(answer);
  return false;
};

const storeList = async (answer) => {
  await store(KEPT, LIST, answer);
  keptAt = Date.now();
  return Boolean(await kept());
};

// Bring the list up to date, if this device keeps one. It is asked at once after each sign-in.
const keepUp = async (isAtOnce) => {
  const before = await kept();
  if (!before || (!isAtOnce && Date.now() - keptAt < KEEP_EVERY_MS)) return;
  keptAt = Date.now();
  await keep(before.headers.get("Kept-For"));
};

const signOut = async () => {
  await forget();
  await (await self.registration.pushManager?.getSubscription())?.unsubscribe();
};

self.addEventListener("install", (event) => {
  const begin = async () => {
    await store(SHELL, OFFLINE, await fetch(OFFLINE, { cache: "no-store" }));
    await self.skipWaiting();
  };
  event.waitUntil(begin());
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

const open = async (event) => {
  try {
    const answer = await fetch(event.request);
    event.waitUntil(keepUp(new URL(event.request.url).pathname.startsWith("/account/")));
    return answer;
  } catch {
    return (await kept()) ?? (await caches.match(OFFLINE, { cacheName: SHELL })) ?? Response.error();
  }
};
// What a form does is not known when its answer is lost, so the browser says what it always says.
const send = async (event) => {
  if (new URL(event.request.url).pathname === "/account/logout/") await signOut();
  const answer = await fetch(event.request);
  event.waitUntil(keepUp(true));
  return answer;
};
const file = async (request) => {
  try {
    return await fetch(request);
  } catch (problem) {
    const stored = await caches.match(request);
    if (stored) return stored;
    throw problem;
  }
};

self.addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(request.method === "GET" ? open(event) : send(event));
  else if (request.method === "GET" && url.pathname.startsWith("/static/")) event.respondWith(file(request));
});

// The page "This device" asks for these.
const ACTS = { keep: () => keep(), forget, state: async () => Boolean(await kept()) };
self.addEventListener("message", (event) => {
  const act = Object.hasOwn(ACTS, event.data?.act ?? "") ? ACTS[event.data.act] : null;
  if (!act) return;
  event.waitUntil((async () => event.ports[0]?.postMessage(await act()))());
});

const CAN_ACT = "actions" in Notification.prototype;
const show = ({ title, body, tag, lang, urgent, path, off }) =>
  self.registration.showNotification(title ?? "Thermacell Web", {
    body: body ?? "",
    tag: tag ?? "",
    lang: lang ?? "",
    requireInteraction: Boolean(urgent),
    icon: "/static/icons/app-192.png",
    badge: "/static/icons/badge-96.png",
    actions: off ? [{ action: "off", title: off.words }] : [],
    // where a notification has no buttons, a press on it opens the page that has the button
    data: { title, tag, lang, off, path: off && !CAN_ACT ? off.path : path ?? "/" },
  });

// The browser gave this device another address by itself. The server takes it in place of the old one, if this is
// the browser that it knows by that; else the page says that notifications are off.
const RENEW = "/profile/device/renew/";
const renew = async ({ oldSubscription, newSubscription }) => {
  const known = await fetch(RENEW, { cache: "no-store" });
  if (!known.ok) return;
  const { key, token } = await known.json();
  const wish = { userVisibleOnly: true, applicationServerKey: key };
  const { endpoint, keys } = (newSubscription ?? await self.registration.pushManager.subscribe(wish)).toJSON();
  const fields = { old: oldSubscription?.endpoint ?? "", endpoint, p256dh: keys.p256dh, auth: keys.auth };
  await fetch(RENEW, { method: "POST", headers: { "X-CSRFToken": token }, body: new URLSearchParams(fields) });
};

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));

self.addEventListener("push", (event) => {
  let said = {};
  try {
    said = event.data.json();
  } catch {
    // a message that cannot be read is shown as one without words: browsers ask for one each time
  }
  event.waitUntil(show(said));
});

// Signed for this device: it puts tonight's installs off, and nothing else.
const putOff = async ({ title, tag, lang, off }) => {
  let isDone = false;
  try {
    isDone = (await fetch(off.path, { method: "POST", credentials: "omit" })).ok;
  } catch {
    isDone = false;
  }
  await show({ title, tag, lang, body: isDone ? off.done : off.failed, path: isDone ? "/planned/" : off.path });
};

const openPage = async (path) => {
  const url = new URL(path, self.location.origin);
  if (url.origin !== self.location.origin) return;
  const [page] = await self.clients.matchAll({ type: "window" });
  if (!page) {
    await self.clients.openWindow(url);
    return;
  }
  await page.focus();
  await page.navigate(url);
};

self.addEventListener("notificationclick", (event) => {
  const { action, notification } = event;
  notification.close();
  event.waitUntil(action === "off" ? putOff(notification.data) : openPage(notification.data.path));
});
