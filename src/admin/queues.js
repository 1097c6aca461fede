// The board's own Queues page tells its table that there is one row, so it shows one queue.
// This adds the others below, as links that the page's router follows.
const shownTable = () => location.pathname === "/queues" && document.querySelector("table tbody tr td a");

async function showOtherQueues() {
  const first = shownTable();
  const frame = first?.closest("table").parentElement;
  if (!frame || frame.dataset.complete) return;
  frame.dataset.complete = "true";
  const queues = await (await fetch("/api/v1/queues")).json();
  const shown = new Set([...frame.querySelectorAll("tbody a")].map((link) => link.getAttribute("href")));
  for (const { name, stats } of queues) {
    const href = `/queues/${encodeURIComponent(name)}`;
    if (shown.has(href)) continue;
    const rate = stats.find(({ stat_type }) => stat_type === "Percentage");
    const link = document.createElement("a");
    link.href = href;
    link.className = "flex items-center gap-2 px-5 py-2 text-2sm text-white border-b border-grid-dimmed";
    link.textContent = rate ? `${name} · ${rate.value} ${rate.title}` : name;
    frame.append(link);
  }
}

new MutationObserver(showOtherQueues).observe(document.documentElement, { childList: true, subtree: true });
