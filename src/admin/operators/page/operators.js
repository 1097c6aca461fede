// What is stuck with orders and webhooks and why, and what to do about it.

import { List, action, badge, isSome, item, machineTiles, now, number, since, start, stockTiles, tile, when } from "/admin/common.js";

const orders = (count) => (count === 1 ? "1 order" : `${count} orders`);
const rest = ({ hasMore }) => (hasMore ? " There are more: do it again." : "");

// --- What an item looks like ---

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

function showOverview(overview) {
  const { stores, orders, callbacks, endpoints, stock } = overview;
  const some = (count, kind) => (isSome(count) ? kind : "");
  const tiles = [
    tile("Stores failing", number(stores.failed), `${number(stores.partial)} partly`, some(stores.failed, "bad")),
    tile("Stores due", number(orders.dueStores), since(orders.oldestDueAt)),
    tile("Overdue", number(orders.overdueStores), "for 10 minutes", some(orders.overdueStores, "bad")),
    tile("Stores paused", number(stores.paused), null, some(stores.paused, "warn")),
    tile("Orders given up", number(orders.deadLetters), null, some(orders.deadLetters, "bad")),
    tile("Events pending", number(callbacks.pending), since(callbacks.oldestPendingAt)),
    tile("Events given up", number(callbacks.deadLetters), null, some(callbacks.deadLetters, "bad")),
    tile("Webhooks left in peace", number(endpoints.open), `${number(endpoints.inactive)} inactive`, some(endpoints.open, "bad")),
    // The others are on the page of stock.
    ...stockTiles(stock).filter((tile) => tile.className),
    ...machineTiles(overview, false),
  ];
  document.getElementById("overview").replaceChildren(...tiles);
}

start(lists, showOverview);
