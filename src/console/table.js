// The result as a table: holds every object of the result, shows the first rows of them, and lets each
// change be seen as it happens.

import { columns, format, key, text } from "./values.js";

// Rows that are drawn; the result may have many more.
export const ROWS = 200;
// A row that left stays so long, crossed out.
const GONE_MS = 900;
// Up to so many objects the columns are still guessed anew with each one.
const FEW = 20;
// At most so often is the table drawn.
const DRAW_MS = 60;

export class Table {
  // told: {open(object), raise(object), drawn(rows, objects)}
  constructor(parts, told) {
    Object.assign(this, parts);
    this.told = told;
    this.entries = new Map();
    this.columns = [];
    this.hints = {};
    this.sort = null;
    this.count = 0;
    this.newest = 0;
    this.body.addEventListener("keydown", (event) => this.walk(event));
  }

  // A whole result. Objects that were here and are not in it go without ado.
  load(objects, hints) {
    const before = this.entries;
    this.entries = new Map();
    this.hints = hints;
    this.newest = 0;
    objects.forEach((object, place) => {
      const row = before.get(object.id)?.row;
      this.entries.set(object.id, { object, row, place: -place, stale: true, goes: 0 });
    });
    this.count = objects.length;
    this.setColumns(columns(hints, objects));
    this.align();
    this.draw();
  }

  add(object) {
    const entry = this.entries.get(object.id);
    if (entry && !entry.goes) return this.change(object);
    if (!entry) this.newest += 1;
    this.entries.set(object.id, { object, row: entry?.row, place: entry?.place ?? this.newest, stale: true, goes: 0, flash: "add" });
    this.count += 1;
    if (this.count <= FEW) {
      this.setColumns(columns(this.hints, this.objects()));
      this.align();
    }
    this.schedule();
  }

  change(object) {
    const entry = this.entries.get(object.id);
    if (!entry) return this.add(object);
    entry.changed = this.columns.filter((name) => JSON.stringify(entry.object[name]) !== JSON.stringify(object[name]));
    entry.object = object;
    entry.stale = true;
    entry.flash = "change";
    this.schedule();
  }

  remove(id) {
    const entry = this.entries.get(id);
    if (!entry || entry.goes) return;
    entry.goes = Date.now() + GONE_MS;
    entry.stale = true;
    this.count -= 1;
    this.schedule();
    setTimeout(() => {
      if (this.entries.get(id) !== entry || !entry.goes) return;
      this.entries.delete(id);
      this.schedule();
    }, GONE_MS);
  }

  objects() {
    return [...this.entries.values()].filter((entry) => !entry.goes).map((entry) => entry.object);
  }

  get isSmall() {
    return this.count <= FEW;
  }

  get(id) {
    const entry = this.entries.get(id);
    return entry && !entry.goes ? entry.object : undefined;
  }

  setColumns(names) {
    if (names.join("\n") === this.columns.join("\n") && this.head.childElementCount > 0) return;
    this.columns = names;
    if (this.sort && !names.includes(this.sort.name)) this.sort = null;
    for (const entry of this.entries.values()) entry.row = undefined;
    this.body.replaceChildren();
    this.head.replaceChildren(...["id", ...names].map((name) => this.heading(name)));
    this.align();
  }

  // Numbers stand below each other at the right, and so do their headings.
  align() {
    const first = [...this.entries.values()].slice(0, 20);
    ["id", ...this.columns].forEach((name, place) => {
      this.head.children[place].classList.toggle("number", first.some((entry) => typeof entry.object[name] === "number"));
    });
  }

  heading(name) {
    const cell = document.createElement("th");
    cell.scope = "col";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.title = `Sort by ${name}`;
    button.onclick = () => {
      const [first, second] = typeof [...this.entries.values()][0]?.object[name] === "number" ? [-1, 1] : [1, -1];
      const direction = this.sort?.name !== name ? first : this.sort.direction === first ? second : 0;
      this.sort = direction ? { name, direction } : null;
      for (const other of this.head.children) other.removeAttribute("aria-sort");
      if (direction) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      this.draw();
    };
    cell.append(button);
    return cell;
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    const wait = Math.max(0, (this.drawn ?? 0) + DRAW_MS - performance.now());
    setTimeout(() => requestAnimationFrame(() => this.draw()), wait);
  }

  draw() {
    this.scheduled = false;
    this.drawn = performance.now();
    const all = [...this.entries.values()];
    all.sort(this.sort ? by(this.sort) : (a, b) => b.place - a.place);
    const visible = all.slice(0, ROWS);
    const rows = visible.map((entry) => this.row(entry));
    const keep = new Set(rows);
    for (const row of [...this.body.children]) if (!keep.has(row)) row.remove();
    rows.forEach((row, place) => {
      if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
    });
    if (!this.body.querySelector('button[tabindex="0"]')) this.reach(this.body.firstElementChild);
    this.told.drawn(rows.length, this.count);
  }

  row(entry) {
    if (!entry.row) {
      entry.row = document.createElement("tr");
      entry.row.append(...["id", ...this.columns].map(() => document.createElement("td")));
      entry.row.firstChild.append(this.opener(entry.object.id));
    }
    if (entry.stale) this.fill(entry);
    if (entry.flash) {
      const cells = entry.flash === "change" ? (entry.changed ?? []).map((name) => entry.row.children[this.columns.indexOf(name) + 1]) : [entry.row];
      for (const cell of cells) cell?.animate([{ backgroundColor: `var(--${entry.flash}-flash)` }, { backgroundColor: "transparent" }], { duration: 1400, easing: "ease-out" });
      entry.flash = null;
    }
    return entry.row;
  }

  fill(entry) {
    entry.stale = false;
    entry.row.classList.toggle("gone", entry.goes > 0);
    this.columns.forEach((name, place) => {
      const cell = entry.row.children[place + 1];
      const value = entry.object[name];
      if (Array.isArray(value) && value.every((item) => typeof item === "string")) {
        cell.replaceChildren(...value.map((item) => Object.assign(document.createElement("span"), { className: "tag", textContent: text(item) })));
        return;
      }
      cell.className = typeof value === "number" ? "number" : typeof value === "boolean" || value === null ? "dim" : "";
      const shown = text(value);
      if (this.hints.raise?.field === name && typeof value === "number") {
        // A button that is there stays where it is: one that is moved under a finger loses the press.
        if (!cell.querySelector("button")) {
          const pair = Object.assign(document.createElement("div"), { className: "raised" });
          pair.append(this.raiser(entry.object.id), "");
          cell.replaceChildren(pair);
        }
        const [button, words] = cell.firstChild.childNodes;
        words.data = shown;
        button.disabled = entry.goes > 0 || (entry.object.state !== undefined && entry.object.state !== "open");
        button.setAttribute("aria-label", `${this.hints.raise.label}: raise ${name} of ${key(entry.object.id)} above ${shown}`);
      } else {
        cell.textContent = shown;
        cell.title = shown.length > 28 ? shown : "";
      }
    });
  }

  opener(id) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "open", textContent: key(id), tabIndex: -1 });
    button.setAttribute("aria-label", `Show all of ${key(id)}`);
    button.onclick = () => this.told.open(id);
    return button;
  }

  raiser(id) {
    const label = this.hints.raise.label ?? "Raise";
    const button = Object.assign(document.createElement("button"), { type: "button", className: "raise", textContent: label, tabIndex: -1 });
    button.onclick = () => this.told.raise(id, button);
    return button;
  }

  // Up and down go from row to row, Tab leaves the table: the buttons of one row at a time can be tabbed to.
  walk(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row?.[step]) return;
    event.preventDefault();
    this.reach(row[step]);
    (row[step].querySelector(`.${event.target.className}`) ?? row[step].querySelector("button"))?.focus();
  }

  reach(row) {
    for (const button of this.body.querySelectorAll('button[tabindex="0"]')) button.tabIndex = -1;
    for (const button of row?.querySelectorAll("button") ?? []) button.tabIndex = 0;
  }
}

function by({ name, direction }) {
  const value = name === "id" ? (entry) => entry.object.id : (entry) => entry.object[name];
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return b.place - a.place;
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    return (typeof x === "number" && typeof y === "number" ? x - y : text(x).localeCompare(text(y))) * direction;
  };
}

// How many rows are shown of how many.
export function shown(rows, objects) {
  return objects > rows ? `the first ${format(rows)} of ${format(objects)}` : "";
}
