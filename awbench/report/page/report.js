"use strict";
// Tables that sort and filter, and a window with the origin of a row's numbers. Text is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);

function sortKey(text) {
  const number = /^[-+]?\d[\d,]*(\.\d+)?/.exec(text);
  return number ? [0, Number(number[0].replaceAll(",", ""))] : text ? [1, text] : [2, ""];
}

function compare(a, b) {
  if (a[0] !== b[0]) return a[0] - b[0];
  return a[0] === 0 ? a[1] - b[1] : a[1].localeCompare(b[1]);
}

function sortBy(table, header) {
  const column = header.cellIndex;
  const descending = header.getAttribute("aria-sort") === "ascending";
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row) => [sortKey(row.cells[column].textContent), row]);
  const empty = keyed.filter(([key]) => key[0] === 2);
  const filled = keyed.filter(([key]) => key[0] !== 2).sort((a, b) => compare(a[0], b[0]) * (descending ? -1 : 1));
  body.append(...[...filled, ...empty].map(([, row]) => row));  // empty cells stay last
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

function filter(table, text, output) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => content.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  output.textContent = wanted.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function pairs(entries) {
  const list = document.createElement("dl");
  for (const [name, value] of entries) list.append(element("dt", name), element("dd", String(value)));
  return list;
}

function describeSource(id) {
  const source = data.sources[id];
  if (!source) return [];
  const link = element("a", source.url);
  if (source.url.startsWith("https://")) link.href = source.url;
  link.rel = "noreferrer";
  const heading = element("h3", `published: ${source.title}`);
  const list = pairs([["read from", source["read from"]], ["provenance", source.provenance], ["address", ""]]);
  list.lastElementChild.append(link);
  return [heading, list];
}

function describeRecord(record) {
  const parts = [
    element("h3", record.title),
    pairs([["file", record.file], ["measured", record.measured], ["commit", record.commit]]),
  ];
  for (const [name, entries] of [
    ["values", record.values],
    ...["settings", "options", "inputs", "machine", "run"].map((name) => [name, data.parts[record[name]]]),
  ]) {
    const details = document.createElement("details");
    details.open = name === "values";
    details.append(element("summary", name), pairs(Object.entries(entries)));
    parts.push(details);
  }
  for (const note of record.notes) parts.push(element("p", note));
  return parts;
}

function showOrigin(button) {
  const records = button.dataset.records.split(" ").filter(Boolean).map((place) => data.records[Number(place)]);
  show(...describeSource(button.dataset.source), ...records.flatMap(describeRecord));
}

function show(...parts) {
  document.getElementById("origin-body").replaceChildren(...parts);
  document.getElementById("origin").showModal();
}

async function download(kind, format) {
  const packed = Uint8Array.from(atob(data.files[kind][format]), (letter) => letter.charCodeAt(0));
  const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  const link = element("a", "");
  link.href = URL.createObjectURL(text);
  link.download = `awbench-${kind}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target?.matches("details")) return;
  target.open = true;
  target.scrollIntoView();
}

for (const section of document.querySelectorAll("#tables > details")) {
  const table = section.querySelector("table");
  for (const button of table.tHead.querySelectorAll("button"))
    button.addEventListener("click", () => sortBy(table, button.parentElement));
  const scroll = section.querySelector(".scroll");
  const sideways = () => { section.querySelector(".sideways").hidden = scroll.scrollWidth <= scroll.clientWidth + 1; };
  new ResizeObserver(sideways).observe(scroll);
  new ResizeObserver(sideways).observe(table);
  const all = section.querySelector(".all");
  const widen = () => section.classList.toggle("all", all.checked);
  all?.addEventListener("change", widen);
  if (all) widen();  // a browser may keep the tick when it loads the page again
  const input = section.querySelector("input[type=search]");
  input.addEventListener("input", () => filter(table, input.value, section.querySelector("output")));
  for (const button of section.querySelectorAll("button[data-format]"))
    button.addEventListener("click", () => download(section.id.slice("table-".length), button.dataset.format));
}
window.addEventListener("hashchange", openTarget);
openTarget();
document.addEventListener("click", (event) => {
  const button = event.target.closest(".from button");
  if (button) showOrigin(button);
  const datum = event.target.closest("figure g[id*='-mark-']")?.querySelector(":scope > title");
  if (datum) show(element("p", datum.textContent));  // a finger cannot rest on a point
});
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = Array.from(document.querySelectorAll("#tables > details:not([open], .nothing), .claim details:not([open]):has(dl)"));
  for (const details of closed) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
