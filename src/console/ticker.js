// The latest events, one line each, newest on top.

import { key, text, time } from "./values.js";

const LINES = 60;
const SIGNS = { add: "+", change: "~", remove: "−", note: "·" };
const WORDS = { add: "came in", change: "changed", remove: "left" };

export class Ticker {
  constructor(list, hold, open) {
    this.list = list;
    this.open = open;
    this.fresh = [];
    this.held = false;
    hold.onclick = () => {
      this.held = !this.held;
      hold.setAttribute("aria-pressed", this.held);
      hold.textContent = this.held ? "Go on" : "Hold";
      if (!this.held) this.schedule();
    };
  }

  clear() {
    this.fresh = [];
    this.list.replaceChildren();
  }

  note(words) {
    this.push({ kind: "note", at: new Date(), words });
  }

  tell(kind, operation, at, before, data, columns) {
    let words = "";
    if (kind === "remove") {
      words = operation === "delete" ? "deleted" : differences(before, data, columns) || "no longer matches";
    } else if (kind === "change" && before) {
      words = differences(before, data, columns) || "other fields";
    } else {
      words = columns.slice(0, 3).map((name) => short(data[name])).join(" · ");
    }
    this.push({ kind, at, id: data.id, words });
  }

  push(line) {
    this.fresh.push(line);
    if (this.fresh.length > LINES) this.fresh.splice(oldest(this.fresh, (line) => line.kind === "note"), 1);
    this.schedule();
  }

  schedule() {
    if (this.scheduled || this.held) return;
    this.scheduled = true;
    setTimeout(() => requestAnimationFrame(() => this.draw()), 100);
  }

  draw() {
    this.scheduled = false;
    if (this.held) return;
    this.list.prepend(...this.fresh.reverse().map((line) => this.line(line)));
    this.fresh = [];
    while (this.list.childElementCount > LINES) {
      const lines = [...this.list.children].reverse();
      lines[oldest(lines, (line) => line.className === "note")].remove();
    }
  }

  line({ kind, at, id, words }) {
    const line = Object.assign(document.createElement("li"), { className: kind });
    const part = (tag, textContent, className = "") => line.appendChild(Object.assign(document.createElement(tag), { textContent, className }));
    part("b", SIGNS[kind]).setAttribute("aria-hidden", "true");
    if (id) {
      const button = part("button", key(id), "open");
      button.type = "button";
      button.tabIndex = -1;
      button.onclick = () => this.open(id);
      part("span", ` ${WORDS[kind]} `, "unseen");
    }
    part("time", time(at)).dateTime = at.toISOString();
    part("span", words, "words").title = words;
    return line;
  }
}

// Which of these lines goes first, the oldest being the first of them: the last note, an answer to what somebody did, stays.
function oldest(lines, isNote) {
  const note = lines.findLastIndex(isNote);
  return note === 0 && lines.length > 1 ? 1 : 0;
}

function short(value) {
  const all = text(value);
  return all.length > 32 ? `${all.slice(0, 31)}…` : all;
}

// What differs in these fields; nothing where one image is not known or may not be seen.
function differences(before, data, columns) {
  if (!before || data.version === undefined) return "";
  const changed = columns.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(data[name]));
  return changed.map((name) => `${name} ${short(before[name])} → ${short(data[name])}`).join(", ");
}
