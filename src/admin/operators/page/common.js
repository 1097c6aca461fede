// What the pages of operators have in common: asking the API, actions, lists that stay up to date.
// Everything shown comes from /admin/api and is put into a page as text, never as HTML.

const API = "/admin/api";
const REFRESH_MS = 10_000;
const PAGE = 20;
// Pages that may come without an item before one gives up looking for the next.
const EMPTY_PAGES = 20;
// How long a button waits to be pressed again that asks whether it is meant.
const ASK_MS = 5_000;

// By the clock of the service.
export let now = Date.now();
let isBusy = false;

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const number = ({ count, isMore }) => `${count.toLocaleString("en")}${isMore ? "+" : ""}`;
export const isSome = ({ count, isMore }) => count > 0 || isMore;

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

export function when(instant) {
  const shown = element("time", { dateTime: instant, title: instant });
  shown.textContent = relative(instant);
  return shown;
}

export async function ask(path, options = {}) {
  const answer = await fetch(API + path, { cache: "no-store", ...options });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `the service answered ${answer.status}`);
  return body;
}

export function say(text, isBad = false) {
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

export function press(label, pressed, isFirst = false) {
  const button = element("button", { type: "button", textContent: label });
  if (isFirst) button.className = "first";
  button.addEventListener("click", () => pressed(button));
  return button;
}

export function action(label, path, done, isFirst = false) {
  return press(label, (button) => act(button, path, done), isFirst);
}

// An action that is done when the button is pressed twice.
export function careful(label, question, path, done) {
  let isAsked = false;
  return press(label, (button) => {
    if (isAsked) return act(button, path, done);
    isAsked = true;
    button.textContent = question;
    button.className = "asks";
    setTimeout(() => {
      isAsked = false;
      button.textContent = label;
      button.className = "";
    }, ASK_MS);
  });
}

// --- What an item looks like ---

export function badge(text, kind = "") {
  return element("span", { className: `badge ${kind}`, textContent: text });
}

export function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs.filter(([, value]) => value)) {
    list.append(element("dt", { textContent: name }), element("dd", {}, ...[value].flat()));
  }
  return list;
}

export function item(title, subtitle, badges, reason, pairs, actions) {
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

// --- Lists ---

export class List {
  constructor(id, path, render, filters = []) {
    Object.assign(this, { path, render, filters, state: filters[0]?.state, isChosen: false, shown: new Map() });
    this.section = document.getElementById(id);
    this.items = element("ul", { className: "items" });
    this.nothing = element("p", { className: "nothing", textContent: "Nothing.", hidden: true });
    this.more = press("More", () => this.load(this.next));
    this.more.className = "more";
    this.more.hidden = true;
    this.buttons = filters.map((filter) =>
      press(filter.label, () => {
        this.isChosen = true;
        this.choose(filter.state);
        this.load();
      }),
    );
    this.bar = element("div", { className: "filters", hidden: filters.length === 0 }, ...this.buttons);
    this.section.append(this.bar, this.items, this.nothing, this.more);
  }

  choose(state) {
    this.state = state;
    this.filters.forEach((filter, index) => {
      this.buttons[index].setAttribute("aria-pressed", String(filter.state === state));
    });
  }

  // Shows what is of one store, and a way back to what is of all.
  async narrow(storeId, name) {
    this.storeId = storeId;
    this.bar.hidden = false;
    this.bar.replaceChildren(
      element("span", { textContent: `Of ${name}` }),
      press("Of all stores", () => {
        this.storeId = undefined;
        this.bar.replaceChildren(...this.buttons);
        this.bar.hidden = this.filters.length === 0;
        this.load();
      }),
    );
    await this.load();
    this.section.scrollIntoView();
  }

  // Shows how many there are of each; until somebody chose, the first that there is any of.
  count(overview) {
    let first = this.filters[0].state;
    [...this.filters].reverse().forEach((filter) => {
      const count = filter.count?.(overview);
      if (count && isSome(count)) first = filter.state;
    });
    this.filters.forEach((filter, index) => {
      const count = filter.count?.(overview);
      this.buttons[index].textContent = count ? `${filter.label} ${number(count)}` : filter.label;
    });
    if (!this.isChosen) this.choose(first);
  }

  async load(cursor = null) {
    const { state, storeId } = this;
    const found = [];
    let next = cursor;
    for (let page = 0; page < EMPTY_PAGES; page += 1) {
      const query = new URLSearchParams({ limit: PAGE });
      if (state) query.set("state", state);
      if (storeId) query.set("storeId", storeId);
      if (next) query.set("cursor", next);
      const answer = await ask(`${this.path}?${query}`);
      found.push(...answer.items);
      next = answer.nextCursor;
      if (!next || found.length > 0) break;
    }
    // Somebody may have chosen another list meanwhile.
    if (state !== this.state || storeId !== this.storeId) return;
    this.show(found, next, cursor !== null);
  }

  show(found, next, isFurther) {
    this.next = next;
    this.hasFurther = isFurther;
    const texts = found.map((item) => JSON.stringify(item));
    const made = texts.map((text, index) => this.shown.get(text) ?? this.render(found[index]));
    if (!isFurther) {
      this.shown.clear();
      for (const item of [...this.items.children]) if (!made.includes(item)) item.remove();
    }
    // What did not change stays where it is, with the focus that somebody put there.
    const start = isFurther ? this.items.childElementCount : 0;
    made.forEach((item, index) => {
      const there = this.items.children[start + index];
      if (there !== item) this.items.insertBefore(item, there ?? null);
      this.shown.set(texts[index], item);
    });
    this.nothing.hidden = this.items.childElementCount > 0;
    this.more.hidden = next === null;
  }
}

// --- The overview ---

export const since = (instant) => instant && ["oldest ", when(instant)];

export function tile(name, value, detail, kind = "") {
  const small = detail ? element("small", {}, ...[detail].flat()) : null;
  return element(
    "div",
    { className: kind },
    element("dt", { textContent: name }),
    element("dd", {}, value, small),
  );
}

// Ticks and queues of jobs, of stock or of all else.
export function machineTiles({ ticks, queues }, isOfStock) {
  const isShown = ({ name }) => (/stock/.test(name) || name === "resync-store-queue") === isOfStock;
  const shownTicks = ticks.map(({ schedule, lastTickAt }) => ({ name: schedule, lastTickAt })).filter(isShown);
  return [
    ...shownTicks.map(({ name, lastTickAt }) => tile(`Tick: ${name}`, lastTickAt ? when(lastTickAt) : "never")),
    ...queues.filter(isShown).map(({ name, waiting }) =>
      tile(name, waiting ?? "no answer", "jobs waiting", waiting === null ? "bad" : ""),
    ),
  ];
}

export function stockTiles(stock) {
  const some = (count, kind) => (isSome(count) ? kind : "");
  const reasons = stock.closedByReason.map(({ reason, stores }) => `${number(stores)} ${reason}`);
  const tiles = [
    tile("Quantities pending", number(stock.pending), since(stock.oldestPendingAt)),
    tile("Quantities overdue", number(stock.overdue), `stores: ${number(stock.overdueStores)}`, some(stock.overdue, "bad")),
    tile("Products blocked", number(stock.blocked), "in all stores", some(stock.blocked, "bad")),
    tile("Pushes in flight", number(stock.inFlight)),
    tile("Pushes unknown", number(stock.unknown), "of the last day", some(stock.unknown, "warn")),
    tile("Gates closed", number(stock.closed), reasons.join(", "), some(stock.closed, "warn")),
  ];
  if (!stock.isEnabled) tiles.unshift(tile("Stock pushes", "off", "STOCK_PUSH_ENABLED", "bad"));
  return tiles;
}

// --- Staying up to date ---

let isRefreshing = false;
// What a page shows: its lists, and what it makes of the overview.
let shown = { lists: [], show: () => {} };

async function refresh(isAsked = false) {
  if (isRefreshing || isBusy) return;
  isRefreshing = true;
  try {
    const overview = await ask("/overview");
    now = Date.parse(overview.now);
    shown.show(overview);
    for (const list of shown.lists.filter((list) => list.filters.length)) list.count(overview);
    // Who reads on is left alone until they ask.
    const lists = shown.lists.filter((list) => isAsked || !list.hasFurther);
    await Promise.all(lists.map((list) => list.load()));
    for (const instant of document.querySelectorAll("time")) {
      instant.textContent = relative(instant.dateTime);
    }
    document.getElementById("as-of").textContent = `As of ${new Date(now).toLocaleTimeString()}`;
  } catch (error) {
    say(`Cannot read the state of the service: ${error.message}`, true);
  }
  isRefreshing = false;
}

export function start(lists, show) {
  shown = { lists, show };
  document.getElementById("refresh").addEventListener("click", () => {
    say("");
    refresh(true);
  });
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
  refresh(true);
}
