// What values look like in a cell, which columns objects have, and queries to begin with.

const META = new Set(["id", "version", "acl", "createdAt", "updatedAt"]);
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });

export const format = (value) => number.format(value);
export const time = (date) => clock.format(date);

// The part of an id that people know an object by.
export function key(id) {
  const last = id.slice(id.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

export function text(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return number.format(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") {
    if (DATE.test(value)) {
      const date = new Date(value);
      if (!Number.isNaN(date.getTime())) {
        return Math.abs(date - Date.now()) < 20 * 3_600_000 ? clock.format(date) : day.format(date);
      }
    }
    return value.startsWith("/db/") ? key(value) : value;
  }
  if (Array.isArray(value)) return value.map(text).join(", ");
  if (typeof value.latitude === "number" && typeof value.longitude === "number") {
    return `${value.latitude.toFixed(2)}, ${value.longitude.toFixed(2)}`;
  }
  return JSON.stringify(value);
}

// The columns for these objects: those that the class hints at, else the fields that most objects have.
export function columns(hints, objects) {
  if (hints.columns?.length) return hints.columns;
  const counts = new Map();
  for (const object of objects.slice(0, 100)) {
    for (const [name, value] of Object.entries(object)) {
      if (!META.has(name) && value !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([name]) => name);
}

// Queries that fit these objects, where the class hints at none.
export function examples(objects) {
  const found = [];
  const sample = objects.slice(0, 200);
  const names = columns({}, sample);
  const values = (name, type) => sample.map((object) => object[name]).filter((value) => typeof value === type && value !== "");
  const texts = names.find((name) => {
    const all = values(name, "string");
    return all.length > 0 && !DATE.test(all[0]) && new Set(all).size <= Math.max(all.length / 2, 1);
  }) ?? names.find((name) => values(name, "string").some((value) => !DATE.test(value)));
  if (texts) {
    const [first, second] = [...new Set(values(texts, "string"))];
    found.push({ label: `${texts} is ${first}`, kind: "equality", query: { [texts]: first } });
    if (second) found.push({ label: `${texts} is one of two`, kind: "$in", query: { [texts]: { $in: [first, second] } } });
    const start = first.slice(0, 3).replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    found.push({ label: `${texts} begins with ${first.slice(0, 3)}`, kind: "regex", query: { [texts]: { $regex: `^${start}` } } });
  }
  const amount = names.find((name) => values(name, "number").length > 0);
  if (amount) {
    const sorted = values(amount, "number").sort((a, b) => a - b);
    found.push({ label: `${amount} in the upper half`, kind: "range", query: { [amount]: { $gte: sorted[sorted.length >> 1] } } });
  }
  const list = names.find((name) => sample.some((object) => Array.isArray(object[name]) && typeof object[name][0] === "string"));
  if (list) {
    const element = sample.find((object) => Array.isArray(object[list]) && object[list].length > 0)[list][0];
    found.push({ label: `${list} has ${text(element)}`, kind: "array", query: { [list]: element } });
  }
  return found;
}

// JSON text as pieces with their kinds, for colouring; whatever is no token is plain.
export function pieces(source) {
  const token = /("(?:[^"\\\n]|\\.)*"?)(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
  const found = [];
  let at = 0;
  for (const match of source.matchAll(token)) {
    if (match.index > at) found.push(["", source.slice(at, match.index)]);
    if (match[1]) {
      found.push([match[2] ? (match[1].startsWith('"$') ? "operator" : "name") : "string", match[1]]);
      if (match[2]) found.push(["", match[2]]);
    } else {
      found.push([match[3] ? "number" : "word", match[0]]);
    }
    at = match.index + match[0].length;
  }
  found.push(["", source.slice(at)]);
  return found;
}
