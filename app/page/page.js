"use strict";

// Everything shown is set as text, never as markup: ids and events come from producers.

const byId = (id) => document.getElementById(id);
const search = byId("search");
const refresh = byId("refresh");
const organization = byId("organization");
const status = byId("status");
const keyForm = byId("key-form");
const figures = byId("figures");

let key = keyFromAddress() || sessionStorage.getItem("key");
let timer = 0;
let running = null;
let shown = { query: null, tag: null };
let picking = false;
const replayed = new Set();

function keyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem("key", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given;
}

function cell(text, kind) {
  const td = document.createElement("td");
  td.textContent = text === null || text === undefined ? "–" : String(text);
  if (kind) td.className = kind;
  return td;
}

function fill(table, items, toCells) {
  const rows = items.map((item) => {
    const row = document.createElement("tr");
    row.append(...toCells(item));
    return row;
  });
  byId(table).tBodies[0].replaceChildren(...rows);
  byId(`${table}-empty`).hidden = items.length > 0;
}

const time = (text) => (text ? text.replace("T", " ").replace("Z", "") : null);
const day = (text) => text.slice(0, 10);
const whole = (number) => number.toLocaleString("en");

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** The metric, and which of its charges where the name does not say. */
function metric(line) {
  const charge = line.charge_code === line.billable_metric_code ? "" : `, charge ${line.charge_code}`;
  return line.billable_metric_code + (line.implicit ? " (implicit plan)" : charge);
}

function usageCells(line) {
  return [
    cell(line.organization_id, "id"),
    cell(line.external_customer_id),
    cell(line.external_subscription_id),
    cell(metric(line)),
    cell(line.units, "number"),
    cell(whole(line.events_count), "number"),
    cell(`${day(line.from)} to ${day(line.to)}`, "time"),
  ];
}

function closingCells(held) {
  return [
    cell(held.partition, "number"),
    cell(time(held.cut), "time"),
    cell(held.blocked_by, "warn"),
    cell(duration(held.waiting_s), "number"),
  ];
}

function partitionCells(partition) {
  return [
    cell(partition.partition, "number"),
    cell(partition.state, partition.state === "running" ? "good" : "warn"),
    cell(partition.owner || "this one"),
    cell(whole(partition.offset), "number"),
    cell(partition.lag === null ? null : whole(partition.lag), "number"),
    cell(partition.lag === null ? null : whole(partition.rekeyed_lag), "number"),
    cell(partition.events_per_s, "number"),
    cell(time(partition.append_time), "time"),
  ];
}

function healthCells(reason) {
  return [
    cell(reason.code, "bad"),
    cell(time(reason.since), "time"),
    cell(reason.message),
    cell(reason.worker),
  ];
}

function recordCells(record) {
  return [
    cell(time(record.closed_at), "time"),
    cell(record.type),
    cell(record.external_subscription_id),
    cell(record.billable_metric_code),
    cell(time(record.from_datetime), "time"),
    cell(record.units, "number"),
    cell(record.revision, "number"),
  ];
}

const place = (letter) => `${letter.partition}/${letter.offset}`;

function letterCells(letter) {
  const action = document.createElement("td");
  const button = document.createElement("button");
  button.type = "button";
  button.disabled = replayed.has(place(letter));
  button.textContent = button.disabled ? "Replayed" : "Replay";
  button.addEventListener("click", () => replay(letter, button));
  action.append(button);
  return [
    cell(time(letter.failed_at), "time"),
    cell(letter.code, "bad"),
    cell(letter.message),
    cell(letter.source, "id"),
    cell(letter.value, "value"),
    action,
  ];
}

function show(overview) {
  fill("usage", overview.usage, usageCells);
  fill("closing", overview.closing, closingCells);
  fill("partitions", overview.partitions, partitionCells);
  fill("records", overview.records, recordCells);
  fill("letters", overview.dead_letters, letterCells);
  const more = overview.usage_total - overview.usage.length;
  byId("usage-count").textContent = more > 0 ? `first ${overview.usage.length} of ${whole(overview.usage_total)}` : "";
  const lag = overview.partitions.reduce((sum, partition) => sum + (partition.lag ?? 0), 0);
  const unknown = overview.partitions.filter((partition) => partition.lag === null).length;
  const rest = unknown > 0 ? ` and that of ${unknown} partition${unknown > 1 ? "s" : ""} unknown` : "";
  const speed = overview.partitions.reduce((sum, partition) => sum + partition.events_per_s, 0);
  const workers = overview.workers > 1 ? ` and ${overview.workers - 1} more` : "";
  const waiting = [...new Set(overview.closing.map((held) => held.partition))].sort((a, b) => a - b);
  const closing = waiting.length > 0 ? ` · closing waits on partition ${waiting.join(", ")}` : "";
  fill("health", overview.health, healthCells);
  byId("health-section").hidden = overview.health.length === 0;
  byId("figures").classList.toggle("old", overview.health.some((reason) => reason.code === "kafka_unreachable"));
  say(`${trouble(overview)}${overview.worker}${workers} · ${time(overview.now)} UTC · lag ${whole(lag)}${rest} · ${whole(Math.round(speed))} events/s${closing}`, overview.health.length > 0);
}

/** The first thing that is wrong, in words; of brokers that are away also how old the figures are. */
function trouble(overview) {
  const worst = overview.health.find((reason) => reason.code === "kafka_unreachable") || overview.health[0];
  if (!worst) return "";
  const until = overview.partitions.map((partition) => partition.append_time).filter(Boolean).sort().pop();
  const old = worst.code === "kafka_unreachable" && until ? ` (figures of ${time(until)} UTC)` : "";
  return `${worst.message}${old} · `;
}

function say(text, bad = false) {
  status.textContent = text;
  status.className = bad ? "bad" : "";
}

function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  return fetch(path, { ...options, headers });
}

function askForKey(wrong) {
  keyForm.hidden = false;
  figures.hidden = true;
  say(wrong ? "This key is not known." : "An API key is needed.", wrong);
}

async function update() {
  clearTimeout(timer);
  // A tab that nobody sees asks for nothing; it does again as soon as it is looked at.
  if (document.hidden) return;
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  try {
    const query = new URLSearchParams({ search: search.value, organization_id: organization.value }).toString();
    const headers = shown.query === query && shown.tag ? { "If-None-Match": shown.tag } : {};
    const response = await request(`/api/page/overview?${query}`, { signal: mine.signal, headers, cache: "no-store" });
    if (response.status === 401) return askForKey(Boolean(key));
    if (response.status !== 304) {
      if (!response.ok) throw new Error(`the worker answered ${response.status}`);
      show(await response.json());
      shown = { query, tag: response.headers.get("ETag") };
    }
    if (!picking) pickOrganizations();
    keyForm.hidden = true;
    figures.hidden = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    say(`No figures: ${error.message}. Trying again.`, true);
  }
  if (Number(refresh.value)) timer = setTimeout(update, Number(refresh.value));
}

/** A key of all organizations may look at one of them; a key of one has nothing to pick. */
async function pickOrganizations() {
  picking = true;
  const response = await request("/api/page/organizations").catch(() => null);
  const known = response && response.ok ? (await response.json()).organizations : [];
  byId("organization-label").hidden = known.length === 0;
  byId("organizations").replaceChildren(
    ...known.map((id) => {
      const option = document.createElement("option");
      option.value = id;
      return option;
    }),
  );
}

async function replay(letter, button) {
  button.disabled = true;
  const response = await request("/api/page/dead_letters/replay", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Meter-Page": "1" },
    body: JSON.stringify({ partition: letter.partition, offset: letter.offset }),
  }).catch(() => null);
  if (response && response.ok) replayed.add(place(letter));
  button.textContent = response && response.ok ? "Replayed" : "Failed";
}

search.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, 200);
});
byId("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  update();
});
refresh.addEventListener("change", update);
organization.addEventListener("change", update);
organization.addEventListener("focus", pickOrganizations);
document.addEventListener("visibilitychange", update);
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  sessionStorage.setItem("key", key);
  organization.value = "";
  picking = false;
  update();
});
update();
