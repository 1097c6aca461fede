"use strict";
// What is stuck and why, and what to do about it. Everything shown comes from /admin/api and is
// put into the page as text, never as HTML.

const API = "/admin/api";
const REFRESH_MS = 10_000;
const PAGE = 20;
// Pages that may come without an item before one gives up looking for the next.
const EMPTY_PAGES = 20;

let now = Date.now();
let isBusy = false;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const number = ({ count, isMore }) => `${count.toLocaleString("en")}${isMore ? "+" : ""}`;

function duration(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const [name, size] = units.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${name}`;
}

// An instant, told from now: "in 5 min", "3 h ago".
function relative(instant) {
  const ms = Date.parse(instant) - now;
  return ms > 0 ? `in ${duration(ms)}` : `${duration(ms)} ago`;
}

function when(instant) {
  const shown = element("time", { dateTime: instant, title: instant });
  shown.textContent = relative(instant);
  return shown;
}

async function ask(path, options = {}) {
  const answer = await fetch(API + path, { cache: "no-store", ...options });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `the service answered ${answer.status}`);
  return body;
}

function say(text, isBad = false) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.classList.toggle("bad", isBad);
}

// --- Actions ---

async function act(button, path, done) {
  button.disabled = true;
  isBusy = true;
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
    const answer = await ask(path, options);
    say(answer.isChanged ? done(answer) : "There was nothing to do.");
  } catch (error) {
    say(`Not done: ${error.message}`, true);
  }
  isBusy = false;
  button.disabled = false;
  await refresh(true);
  // A job that was put into the queue needs a moment.
  setTimeout(() => refresh(true), 1500);
}

function action(label, path, done, isFirst = false) {
  const button = element("button", { type: "button", textContent: label });
  if (isFirst) button.className = "first";
  button.addEventListener("click", () => act(button, path, done));
  return button;
}

const orders = (count) => (count === 1 ? "1 order" : `${count} orders`);
const rest = ({ hasMore }) => (hasMore ? " There are more: do it again." : "");

// --- What an item looks like ---

const badge = (text, kind = "") => element("span", { className: `badge ${kind}`, textContent: text });

function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs.filter(([, value]) => value)) {
    list.append(element("dt", { textContent: name }), element("dd", {}, value));
  }
  return list;
}

function item(title, subtitle, badges, reason, pairs, actions) {
  return element(
    "li",
    {},
    element("h3", { textContent: title }),
    element("p", { className: "quiet", textContent: subtitle }),
    badges.length ? element("p", { className: "badges" }, ...badges) : null,
    reason ? element("p", { className: "reason", textContent: reason }) : null,
    facts(pairs),
    element("div", { className: "actions" }, ...actions),
  );
}

function storeItem(store) {
  const path = `/stores/${store.id}`;
  const kinds = { failed: "bad", partial: "warn", success: "good" };
  const badges = [badge(store.syncStatus, kinds[store.syncStatus])];
  const isDue = store.nextDueAt && Date.parse(store.nextDueAt) <= now;
  if (store.pausedAt) badges.push(badge("paused", "warn"));
  if (store.pausedUntil) badges.push(badge("marketplace wants a pause", "warn"));
  if (store.runningSince) badges.push(badge("running", "good"));
  else if (store.enqueuedUntil) badges.push(badge("enqueued"));
  const actions = [];
  if (store.pausedAt) {
    actions.push(action("Resume", `${path}/resume`, () => `${store.name} is resumed.`, true));
  } else {
    const synced = (answer) =>
      `${store.name} is being synced: ${orders(answer.orders)} tried sooner.${rest(answer)}`;
    actions.push(action("Sync now", `${path}/sync`, synced, true));
    actions.push(action("Pause", `${path}/pause`, () => `${store.name} is paused.`));
  }
  if (store.deadLetters.count > 0) {
    const requeued = (answer) => `${orders(answer.orders)} of ${store.name} requeued.${rest(answer)}`;
    actions.push(action("Requeue what was given up", `${path}/requeue`, requeued));
  }
  const pairs = [
    [isDue ? "Due since" : "Next try", store.nextDueAt && when(store.nextDueAt)],
    ["Waiting", store.waiting.count > 0 && number(store.waiting)],
    ["Given up", store.deadLetters.count > 0 && number(store.deadLetters)],
    ["Last tried", store.lastSyncAt ? when(store.lastSyncAt) : "never"],
    ["Running since", store.runningSince && when(store.runningSince)],
    ["Paused since", store.pausedAt && when(store.pausedAt)],
    ["Left in peace", store.pausedUntil && when(store.pausedUntil)],
  ];
  const subtitle = `${store.organizationId} · ${store.marketplace} · ${store.externalStoreId}`;
  return item(store.name || store.externalStoreId, subtitle, badges, store.lastError, pairs, actions);
}

function endpointItem(endpoint) {
  const path = `/endpoints/${endpoint.id}`;
  const badges = [badge(endpoint.event)];
  if (!endpoint.isActive) badges.push(badge(endpoint.inactiveReason ?? "switched off", "warn"));
  else if (endpoint.openUntil) badges.push(badge("left in peace", "bad"));
  const actions = [];
  if (endpoint.isActive) {
    if (endpoint.openUntil || endpoint.pending.count > 0) {
      actions.push(action("Try now", `${path}/probe`, () => "One event is sent now.", true));
    }
    actions.push(action("Pause", `${path}/pause`, () => "The webhook is paused; its events are kept."));
  } else if (endpoint.inactiveReason) {
    actions.push(action("Resume", `${path}/resume`, () => "The webhook is resumed.", true));
  }
  const pairs = [
    ["Tried again", endpoint.isActive && endpoint.openUntil && when(endpoint.openUntil)],
    ["Failures in a row", endpoint.consecutiveFailures > 0 && String(endpoint.consecutiveFailures)],
    ["Pending", number(endpoint.pending)],
    ["Oldest pending", endpoint.oldestPendingAt && when(endpoint.oldestPendingAt)],
    ["Given up", endpoint.deadLetters.count > 0 && number(endpoint.deadLetters)],
  ];
  return item(endpoint.targetUrl, endpoint.organizationId, badges, endpoint.lastError, pairs, actions);
}

function orderItem(order) {
  const requeued = (answer) => `${orders(answer.orders)} of ${order.storeName} requeued.${rest(answer)}`;
  const path = `/stores/${order.storeId}/requeue`;
  return item(order.receipt, `${order.storeName} · ${order.organizationId}`, [], order.reason, [
    ["Failures", String(order.failures)],
    ["Given up", when(order.deadAt)],
  ], [action("Requeue all of this store", path, requeued)]);
}

function callbackItem(callback) {
  const path = `/callbacks/${callback.id}/requeue`;
  const subtitle = `${callback.storeName} · ${callback.organizationId} · ${callback.id}`;
  return item(callback.event, subtitle, [], callback.reason, [
    ["Attempts", String(callback.attempts)],
    ["Happened", when(callback.createdAt)],
    ["Given up", when(callback.givenUpAt)],
  ], [action("Requeue", path, () => "The event is sent again.")]);
}

// --- Lists ---

class List {
  constructor(id, path, render, filters = []) {
    Object.assign(this, { path, render, filters, state: filters[0]?.state, isChosen: false, shown: "" });
    this.items = element("ul", { className: "items" });
    this.nothing = element("p", { className: "nothing", textContent: "Nothing.", hidden: true });
    this.more = element("button", { type: "button", className: "more", textContent: "More", hidden: true });
    this.more.addEventListener("click", () => this.load(this.next));
    this.buttons = filters.map((filter) => {
      const button = element("button", { type: "button", textContent: filter.label });
      button.addEventListener("click", () => {
        this.isChosen = true;
        this.choose(filter.state);
        this.load();
      });
      return button;
    });
    const filterBar = filters.length ? element("div", { className: "filters" }, ...this.buttons) : null;
    document.getElementById(id).append(...[filterBar, this.items, this.nothing, this.more].filter(Boolean));
  }

  choose(state) {
    this.state = state;
    this.filters.forEach((filter, index) => {
      this.buttons[index].setAttribute("aria-pressed", String(filter.state === state));
    });
  }

  // Shows how many there are of each; until somebody chose, the first that there is any of.
  count(overview) {
    let first = this.filters[0].state;
    [...this.filters].reverse().forEach((filter) => {
      const count = filter.count?.(overview);
      if (count && (count.count > 0 || count.isMore)) first = filter.state;
    });
    this.filters.forEach((filter, index) => {
      const count = filter.count?.(overview);
      this.buttons[index].textContent = count ? `${filter.label} ${number(count)}` : filter.label;
    });
    if (!this.isChosen) this.choose(first);
  }

  async load(cursor = null) {
    const state = this.state;
    const found = [];
    let next = cursor;
    for (let page = 0; page < EMPTY_PAGES; page += 1) {
      const query = new URLSearchParams({ limit: PAGE });
      if (state) query.set("state", state);
      if (next) query.set("cursor", next);
      const answer = await ask(`${this.path}?${query}`);
      found.push(...answer.items);
      next = answer.nextCursor;
      if (!next || found.length > 0) break;
    }
    // Somebody may have chosen another list meanwhile.
    if (state !== this.state) return;
    this.show(found, next, cursor !== null);
  }

  show(found, next, isFurther) {
    const text = JSON.stringify([this.state, found, next]);
    this.next = next;
    this.hasFurther = isFurther;
    // What did not change stays as it is, with the focus that somebody put there.
    if (isFurther || text !== this.shown) {
      const items = found.map(this.render);
      if (isFurther) this.items.append(...items);
      else this.items.replaceChildren(...items);
    }
    this.shown = isFurther ? "" : text;
    this.nothing.hidden = this.items.childElementCount > 0;
    this.more.hidden = next === null;
  }
}

const lists = [
  new List("stores", "/stores", storeItem, [
    { state: "overdue", label: "Overdue", count: (overview) => overview.orders.overdueStores },
    { state: "failing", label: "Failing", count: (overview) => overview.stores.failed },
    { state: "dead_letters", label: "With orders given up" },
    { state: "paused", label: "Paused", count: (overview) => overview.stores.paused },
    { state: "all", label: "All" },
  ]),
  new List("endpoints", "/endpoints", endpointItem, [
    { state: "open", label: "Left in peace", count: (overview) => overview.endpoints.open },
    { state: "paused", label: "Paused", count: (overview) => overview.endpoints.paused },
    { state: "inactive", label: "Inactive", count: (overview) => overview.endpoints.inactive },
    { state: "all", label: "All" },
  ]),
  new List("orders", "/dead-letters/orders", orderItem),
  new List("callbacks", "/dead-letters/callbacks", callbackItem),
];

// --- The overview ---

function tile(name, value, detail, kind = "") {
  const small = detail ? element("small", {}, ...[detail].flat()) : null;
  return element(
    "div",
    { className: kind },
    element("dt", { textContent: name }),
    element("dd", {}, value, small),
  );
}

function showOverview({ stores, orders, callbacks, endpoints, ticks, queues }) {
  const some = (count, kind) => (count.count > 0 ? kind : "");
  const since = (instant) => instant && ["oldest ", when(instant)];
  const tiles = [
    tile("Stores failing", number(stores.failed), `${number(stores.partial)} partly`, some(stores.failed, "bad")),
    tile("Stores due", number(orders.dueStores), since(orders.oldestDueAt)),
    tile("Overdue", number(orders.overdueStores), "for 10 minutes", some(orders.overdueStores, "bad")),
    tile("Stores paused", number(stores.paused), null, some(stores.paused, "warn")),
    tile("Orders given up", number(orders.deadLetters), null, some(orders.deadLetters, "bad")),
    tile("Events pending", number(callbacks.pending), since(callbacks.oldestPendingAt)),
    tile("Events given up", number(callbacks.deadLetters), null, some(callbacks.deadLetters, "bad")),
    tile("Webhooks left in peace", number(endpoints.open), `${number(endpoints.inactive)} inactive`, some(endpoints.open, "bad")),
  ];
  for (const { schedule, lastTickAt } of ticks) {
    tiles.push(tile(`Tick: ${schedule}`, lastTickAt ? when(lastTickAt) : "never"));
  }
  for (const { name, waiting } of queues) {
    tiles.push(tile(name, waiting ?? "no answer", "jobs waiting", waiting === null ? "bad" : ""));
  }
  document.getElementById("overview").replaceChildren(...tiles);
  for (const list of lists.filter((list) => list.filters.length)) {
    list.count({ stores, orders, callbacks, endpoints });
  }
}

// --- Staying up to date ---

let isRefreshing = false;

async function refresh(isAsked = false) {
  if (isRefreshing || isBusy) return;
  isRefreshing = true;
  try {
    const overview = await ask("/overview");
    now = Date.parse(overview.now);
    showOverview(overview);
    // Who reads on is left alone until they ask.
    await Promise.all(lists.filter((list) => isAsked || !list.hasFurther).map((list) => list.load()));
    for (const shown of document.querySelectorAll("time")) shown.textContent = relative(shown.dateTime);
    document.getElementById("as-of").textContent = `As of ${new Date(now).toLocaleTimeString()}`;
  } catch (error) {
    say(`Cannot read the state of the service: ${error.message}`, true);
  }
  isRefreshing = false;
}

document.getElementById("refresh").addEventListener("click", () => {
  say("");
  refresh(true);
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(() => document.hidden || refresh(), REFRESH_MS);
refresh(true);
