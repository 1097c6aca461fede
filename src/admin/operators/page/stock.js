// Which quantities marketplaces are not told and why, what was sent and what came back.

import { List, action, ask, badge, careful, element, facts, isSome, item, machineTiles, now, number, press, say, start, stockTiles, when } from "/admin/common.js";

const GATES = {
  DISABLED: "Pushing is switched off for all stores (STOCK_PUSH_ENABLED).",
  ADAPTER_MISSING: "There is no adapter for this marketplace.",
  AUTH: "The marketplace does not take the credentials, or who calls.",
  PROTOCOL: "The marketplace answers what nobody expects.",
  BREAKER: "Too many failures in a row: one batch is tried when the gate opens.",
  BACKOFF: "The last request failed.",
  RATE_LIMITED: "The marketplace wants it slower.",
  WINDOW: "It was pushed to, and its mode allows one run a window.",
  IDENTICAL_BODY: "The same request would be refused.",
  OUTSTANDING: "As many requests are outstanding as may be.",
  SPACING: "The last request was a moment ago.",
  BUCKET: "Too many requests for now.",
  DAILY_BUDGET: "Everything that may be sent today was.",
};
const STATES = { CONFIRMED: "good", ACCEPTED: "", SENDING: "", DRY_RUN: "", PARTIAL: "warn", UNKNOWN: "warn", EXPIRED: "warn", FAILED: "bad" };
const MODES = { LIVE: ["live", "good"], DRY_RUN: ["dry run", "warn"], OFF: ["off", ""] };

const products = (count) => (count === 1 ? "1 product" : `${count} products`);

// --- What an item looks like ---

function storeBadges(store) {
  const badges = [badge(...MODES[store.pushMode])];
  if (!store.isActive) badges.push(badge("inactive", "warn"));
  if (!store.sendsStock) badges.push(badge("sends no stock", "warn"));
  if (!store.gate.isOpen) badges.push(badge(`gate: ${store.gate.reason}`, "bad"));
  if (isSome(store.overdue)) badges.push(badge("overdue", "bad"));
  if (store.isRunning) badges.push(badge("running", "good"));
  else if (store.enqueuedUntil) badges.push(badge("enqueued"));
  if (store.resyncRequestedAt) badges.push(badge("resync"));
  return badges;
}

function storeActions(store) {
  const path = `/stock/stores/${store.id}`;
  const name = store.name;
  const isLive = store.isActive && store.sendsStock && store.pushMode !== "OFF";
  const pushed = () => {
    const { isOpen, opensAt } = store.gate;
    const gate = isOpen ? "" : ` Its gate is closed${opensAt ? "" : " for now"}, so it may send nothing yet.`;
    return `A run of ${name} is enqueued.${gate}`;
  };
  const live = () =>
    store.isActive && store.sendsStock
      ? `${name} is live; what differs is put into its queue.`
      : `${name} is live, but nothing is sent: it is inactive, or sends no stock.`;
  const actions = [];
  if (isLive) actions.push(action("Push now", `${path}/push`, pushed, true));
  if (isLive) actions.push(action("Resync", `${path}/resync`, () => `What differs in ${name} is put into its queue.`));
  if (store.pushMode !== "LIVE") {
    actions.push(careful("Go live", `Send real quantities of ${name}?`, `${path}/live`, live));
  }
  if (store.pushMode === "OFF") {
    actions.push(action("Dry run", `${path}/dry-run`, () => `${name} is in a dry run: nothing is sent.`));
  } else {
    actions.push(action("Pause", `${path}/pause`, () => `${name} is off; going live again sends what differs.`));
  }
  actions.push(press("Pushes", () => pushes.narrow(store.id, name)));
  if (isSome(store.blocked)) actions.push(press("Blocked products", () => blocked.narrow(store.id, name)));
  return actions;
}

function storeItem(store) {
  const { gate, lastPush } = store;
  const isDue = store.nextDueAt && Date.parse(store.nextDueAt) <= now;
  const isWaiting = isSome(store.pending);
  const reason = gate.isOpen ? lastPush?.error : GATES[gate.reason];
  const pairs = [
    ["Pending", number(store.pending)],
    ["Overdue", isSome(store.overdue) && number(store.overdue)],
    ["Oldest", isWaiting && when(store.oldestPendingAt)],
    [isDue ? "Due since" : "Next due", isWaiting && when(store.nextDueAt)],
    ["Gate opens", !gate.isOpen && (gate.opensAt ? when(gate.opensAt) : "not by itself")],
    ["Blocked", isSome(store.blocked) && number(store.blocked)],
    ["Failures in a row", store.consecutiveFailures > 0 && String(store.consecutiveFailures)],
    ["Resync since", store.resyncRequestedAt && when(store.resyncRequestedAt)],
    ["Last push", lastPush ? [when(lastPush.createdAt), `, ${lastPush.state}, ${itemsOf(lastPush)}`] : "never"],
    ["Its error", !gate.isOpen && lastPush?.error],
  ];
  const subtitle = `${store.organizationId} · ${store.marketplace} · ${store.externalStoreId}`;
  return item(store.name || store.externalStoreId, subtitle, storeBadges(store), reason, pairs, storeActions(store));
}

function itemsOf({ items, failedItems }) {
  const all = items === 1 ? "1 item" : `${items} items`;
  return failedItems > 0 ? `${all}, ${failedItems} refused` : all;
}

function blockedItem(pair) {
  const path = `/stock/stores/${pair.storeId}/products/${pair.productId}/unblock`;
  const subtitle = `${pair.storeName} · ${pair.organizationId} · ${pair.sku ?? pair.barcode ?? pair.productId}`;
  const unblocked = () => `${pair.productName} is unblocked, and told to ${pair.storeName} with the next push.`;
  return item(pair.productName, subtitle, [badge(pair.code ?? "blocked", "bad")], pair.message, [
    ["Barcode", pair.barcode],
    ["Refused", pair.rejectCount > 0 && (pair.rejectCount === 1 ? "once" : `${pair.rejectCount} times in a row`)],
    ["Tried again", pair.blockedUntil ? when(pair.blockedUntil) : "not by itself"],
  ], [action("Unblock", path, unblocked, true)]);
}

function pushItem(push) {
  const badges = [badge(push.state, STATES[push.state])];
  const title = itemsOf(push);
  const subtitle = [push.storeName, push.organizationId, push.batchId].filter(Boolean).join(" · ");
  return item(title, subtitle, badges, push.error, pushFacts(push), [
    press("What was sent", () => showPush(push.id), true),
  ]);
}

function pushFacts(push) {
  return [
    ["Created", when(push.createdAt)],
    ["Accepted", push.acceptedAt && when(push.acceptedAt)],
    ["Confirmed", push.confirmedAt && when(push.confirmedAt)],
    ["Answer", push.httpStatus && `HTTP ${push.httpStatus}`],
    ["Results asked for", push.polls > 0 && (push.polls === 1 ? "once" : `${push.polls} times`)],
    ["Next time", push.nextPollAt && when(push.nextPollAt)],
  ];
}

// --- A push, with what was sent and what came back ---

const dialog = document.getElementById("push");

// JSON with one line for whatever has nothing nested in it, so that an item is a line.
function lines(value, indent = "") {
  const isNested = (member) => member !== null && typeof member === "object";
  if (!isNested(value) || !Object.values(value).some(isNested)) return JSON.stringify(value);
  const inner = `${indent}  `;
  const members = Array.isArray(value)
    ? value.map((member) => lines(member, inner))
    : Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${lines(member, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${members.map((member) => inner + member).join(",\n")}\n${indent}${close}`;
}

// As it is, but easier to read if it is JSON; what was cut off is not.
function body(text, isTruncated) {
  let shown = text;
  try {
    shown = lines(JSON.parse(text));
  } catch {
    // It is shown as it came.
  }
  const end = isTruncated ? "\n… (only the beginning was kept)" : "";
  return element("pre", { textContent: shown + end, tabIndex: 0 });
}

function errors(given) {
  const word = (error) => {
    if (typeof error === "string") return error;
    const words = [error.code, error.message].filter(Boolean);
    return words.length ? words.join(": ") : JSON.stringify(error);
  };
  return [given ?? "no reason given"].flat().map(word).join("; ");
}

function rejectedList({ rejected, hasMoreRejected }) {
  const lines = rejected.map((item) =>
    element("li", { textContent: `${item.productName} (${item.sku ?? item.barcode ?? item.productId}): ${errors(item.errors)}` }),
  );
  if (hasMoreRejected) lines.push(element("li", { textContent: "and more" }));
  return element("div", {}, element("h3", { textContent: "Refused" }), element("ul", {}, ...lines));
}

function callPart(call) {
  const outcome = call.httpStatus ? `HTTP ${call.httpStatus}` : "no answer";
  const part = element(
    "section",
    {},
    element("h3", { textContent: `${call.kind}: ${outcome}` }),
    element("p", { className: "quiet" }, `${call.method} ${call.url}, `, when(call.at), `, ${call.durationMs} ms`),
  );
  if (call.error) part.append(element("p", { className: "reason", textContent: call.error }));
  if (call.request) part.append(element("h4", { textContent: "Sent" }), body(call.request, call.isTruncated));
  if (call.response) part.append(element("h4", { textContent: "Came back" }), body(call.response, call.isTruncated));
  return part;
}

async function showPush(id) {
  let push;
  try {
    push = await ask(`/stock/pushes/${id}`);
  } catch (error) {
    say(`Cannot show the push: ${error.message}`, true);
    return;
  }
  const parts = [
    element(
      "div",
      { className: "title" },
      element("h2", { textContent: `${push.storeName}: ${push.state}` }),
      press("Close", () => dialog.close()),
    ),
    element("p", { className: "quiet", textContent: `Push ${push.id}` }),
    facts([["Items", itemsOf(push)], ...pushFacts(push)]),
  ];
  if (push.error) parts.push(element("p", { className: "reason", textContent: push.error }));
  if (push.body) parts.push(element("h3", { textContent: "Would have been sent" }), body(push.body, false));
  if (push.rejected.length) parts.push(rejectedList(push));
  parts.push(...push.calls.map(callPart));
  if (push.hasMoreCalls) parts.push(element("p", { className: "quiet", textContent: "Requests between the first and the last ones are left out." }));
  if (!push.body && push.calls.length === 0) parts.push(element("p", { className: "nothing", textContent: "No request is in the log." }));
  dialog.replaceChildren(...parts);
  dialog.showModal();
  dialog.scrollTop = 0;
}

// --- The page ---

const stores = new List("stores", "/stock/stores", storeItem, [
  { state: "overdue", label: "Overdue", count: ({ stock }) => stock.overdueStores },
  { state: "closed", label: "Gate closed", count: ({ stock }) => stock.closed },
  { state: "waiting", label: "Waiting", count: ({ stock }) => stock.waitingStores },
  { state: "pushed", label: "Live or dry run" },
  { state: "all", label: "All" },
]);
const blocked = new List("blocked", "/stock/blocked", blockedItem);
const pushes = new List("pushes", "/stock/pushes", pushItem);

start([stores, blocked, pushes], (overview) => {
  const tiles = [...stockTiles(overview.stock), ...machineTiles(overview, true)];
  document.getElementById("overview").replaceChildren(...tiles);
});
