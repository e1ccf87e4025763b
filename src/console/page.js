// The page: puts the parts together. It speaks the public protocol with the visitor's own rights and nothing else.

import { Api, Refused } from "./api.js";
import { Latency, Rates, milliseconds } from "./figures.js";
import { Live } from "./live.js";
import { Table, shown } from "./table.js";
import { Ticker } from "./ticker.js";
import { examples, format, key, pieces, text } from "./values.js";

const TYPING_MS = 450;
const $ = (id) => document.getElementById(id);
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

const base = document.querySelector('meta[name="tidegate-base"]').content;
const api = new Api(`/${base}`);
const rates = new Rates($("spark"), $("rate"), $("rate-note"));
const latency = new Latency($("latency"), $("latency-note"));
const ticker = new Ticker($("ticker"), $("hold"), openObject);
const table = new Table({ head: $("columns"), body: $("rows") }, { open: openObject, raise, drawn });
const live = new Live(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/${base}/events`, {
  connection, result, match, resumed: () => ticker.note("back again, and nothing was missed"), error: refuse,
});

let classes = [];
let bucket = "";
let running = "";
let waiting = false;
let opened = null;
// Writes of this page whose event has not come yet: id -> {version, answered}
const own = new Map();

// --- what is asked ---

function ask(source) {
  running = `${bucket}\n${source}`;
  waiting = true;
  $("problem").hidden = true;
  $("verdict").textContent = "asking…";
  rates.clear();
  latency.clear();
  ticker.clear();
  own.clear();
  history.replaceState(null, "", `#bucket=${encodeURIComponent(bucket)}&q=${encodeURIComponent(source)}`);
  const usual = location.host === "127.0.0.1:8080" && base === "v1";
  $("command").textContent = `tidegate watch ${bucket} '${source.replaceAll("'", "'\\''")}'${usual ? "" : ` --url ${location.origin}/${base}`}`;
  mark();
  live.subscribe(bucket, source, api.token);
}

// Reads the editor; what is no JSON yet is left until it is.
function run(now) {
  const source = compact($("query").value);
  if (source instanceof Error) {
    $("verdict").textContent = "";
    refuse({ message: `This is not JSON yet: ${source.message}` }, "soft");
    return;
  }
  if (now || running !== `${bucket}\n${source}`) ask(source);
  else if (!waiting) $("problem").hidden = true;
}

function compact(source) {
  try {
    return JSON.stringify(JSON.parse(source.trim() || "{}"));
  } catch (error) {
    return error;
  }
}

// On one line where it is short, else with a line for each field.
function pretty(query) {
  const line = spaced(query);
  if (line.length <= 34) return line;
  const fields = Object.entries(query).map(([name, value]) => `  ${JSON.stringify(name)}: ${spaced(value)}`);
  return `{\n${fields.join(",\n")}\n}`;
}

// On one line, with a space where people put one. A line break is never inside a string of JSON.
function spaced(value) {
  return JSON.stringify(value, null, 1).replaceAll(/([{[])\n\s*|\n\s*([}\]])|(,)\n\s*/g, (_, open = "", close = "", comma) => open + close + (comma ? ", " : ""));
}

function refuse(error, how) {
  waiting = false;
  $("verdict").textContent = how ? "" : "refused";
  // What is still to be seen is of the query before, and does not move any more.
  if (!how) {
    stale(true);
    running = "";
    $("shown").textContent = "of the query before, and still";
  }
  $("problem").className = how ? "problem soft" : "problem";
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

function stale(is) {
  document.querySelector(".answer").classList.toggle("stale", is);
}

function edit(source) {
  $("query").value = source;
  colour();
}

function colour() {
  $("coloured").replaceChildren(...pieces($("query").value).map(([kind, piece]) => (kind ? make("span", { className: kind, textContent: piece }) : piece)), "\n");
}

// --- buckets and examples ---

function hintsOf(name) {
  try {
    return JSON.parse(classes.find((one) => one.class === `/db/${name}`)?.metadata?.console ?? "{}");
  } catch {
    return {};
  }
}

function choose(name, source) {
  bucket = name;
  const hints = hintsOf(name);
  $("about").textContent = hints.about ?? "";
  $("own").textContent = "–";
  $("own-note").textContent = hints.raise ? `press ${hints.raise.label} in a row` : "from answer to event";
  for (const chip of $("buckets").querySelectorAll("[role=radio]")) {
    const chosen = chip.dataset.bucket === name;
    chip.setAttribute("aria-checked", chosen);
    chip.tabIndex = chosen ? 0 : -1;
  }
  const other = $("buckets").querySelector("input");
  if (other) other.value = classes.some((one) => one.class === `/db/${name}`) ? "" : name;
  offer(hints.examples ?? []);
  edit(source ?? pretty(hints.examples?.[0]?.query ?? {}));
  run(true);
}

function offer(list) {
  const all = [...list, { label: `Everything in ${bucket}`, kind: "all", query: {} }];
  $("examples").replaceChildren(
    ...all.map(({ label, kind, query }) => {
      const button = make("button", { type: "button" });
      button.dataset.query = JSON.stringify(query);
      button.append(make("span", { textContent: label }), make("i", { textContent: kind }));
      button.onclick = () => {
        edit(pretty(query));
        run(true);
      };
      const item = make("li", {});
      item.append(button);
      return item;
    }),
  );
  mark();
}

// Which example is running, if one is.
function mark() {
  for (const button of $("examples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", running === `${bucket}\n${button.dataset.query}`);
  }
}

function listBuckets() {
  const names = classes.map((one) => one.class.replace("/db/", ""));
  const chips = names.map((name) => {
    const chip = make("button", { type: "button", textContent: name });
    chip.setAttribute("role", "radio");
    chip.dataset.bucket = name;
    chip.onclick = () => choose(name);
    return chip;
  });
  const other = make("input", { placeholder: names.length ? "other…" : "name of a bucket", size: 10, spellcheck: false });
  other.setAttribute("aria-label", "Another bucket, by its name");
  other.onchange = () => other.value.trim() && choose(other.value.trim());
  $("buckets").replaceChildren(...chips, other);
  $("buckets").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = chips.indexOf(event.target);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = chips[(at + step + chips.length) % chips.length];
    next.focus();
    next.click();
  };
}

// --- what comes ---

function connection(state, pause) {
  const pill = $("connection");
  pill.dataset.state = state;
  pill.textContent = { connecting: "connecting", live: "live", waiting: `lost, again in ${milliseconds(pause ?? 0)}` }[state];
}

function result(objects, fresh) {
  waiting = false;
  stale(false);
  $("problem").hidden = true;
  $("verdict").textContent = "";
  const hints = hintsOf(bucket);
  if (!hints.examples && objects.length > 0) offer(examples(objects));
  table.load(objects, hints);
  if (fresh) ticker.note("too much at once: here is the result afresh");
  const arrived = performance.now();
  for (const [id, write] of own) {
    const object = table.get(id);
    if (object) write.arrived.set(object.version, arrived);
    settleOwn(id);
  }
  refreshOpened();
}

function match({ matchType, operation, data, date }, took) {
  const arrived = performance.now();
  if (took !== undefined) latency.take(took);
  const before = table.get(data.id);
  const kind = matchType === "remove" ? "remove" : before ? "change" : "add";
  if (kind === "remove") table.remove(data.id);
  else if (kind === "change") table.change(data);
  else table.add(data);
  if (kind === "add" && table.isSmall && !hintsOf(bucket).examples) offer(examples(table.objects()));
  rates.count(kind);
  ticker.tell(kind, operation, new Date(date), before, data, table.columns);
  const write = own.get(data.id);
  if (write) {
    write.arrived.set(data.version, arrived);
    settleOwn(data.id);
  }
  if (opened === data.id) refreshOpened();
}

function drawn(rows, objects) {
  $("count").textContent = format(objects);
  $("count-note").textContent = objects === 1 ? "object matches now" : "objects match now";
  $("shown").textContent = shown(rows, objects);
  const empty = $("empty");
  empty.hidden = rows > 0;
  if (rows > 0) return;
  const hello = `curl ${location.origin}/${base}/db/${bucket} -H 'content-type: application/json' -d '{"text":"hello"}'`;
  empty.replaceChildren(
    make("p", { textContent: "Nothing matches right now. What comes to match appears here by itself." }),
    ...(running.endsWith("\n{}") ? [make("p", { textContent: "Write something:" }), make("code", { textContent: hello })] : []),
  );
}

// --- writing ---

// Raises the field that the class hints at, with the version as a condition: who was outbid tries again.
async function raise(id, button) {
  const { field, count, by = {} } = hintsOf(bucket).raise;
  let object = table.get(id);
  if (!object) return ticker.note(`${key(id)} has just left the result`);
  button.disabled = true;
  const write = { arrived: new Map() };
  own.set(id, write);
  try {
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const value = Math.max(object[field] + 1, Math.round(object[field] * 1.1));
      const next = { ...object, ...by, [field]: value };
      if (count) next[count] = (object[count] ?? 0) + 1;
      try {
        const written = await api.put(next);
        write.answered = api.answered;
        write.version = written.version;
        ticker.note(`you wrote ${key(id)}: ${field} ${text(object[field])} → ${text(value)}`);
        settleOwn(id);
        return;
      } catch (error) {
        if (!(error instanceof Refused && error.status === 412)) throw error;
        object = await api.get(id);
      }
    }
    ticker.note(`${key(id)} changes faster than you can bid`);
  } catch (error) {
    ticker.note(`not written: ${error.message}`);
    own.delete(id);
  } finally {
    button.disabled = false;
  }
}

function settleOwn(id) {
  const write = own.get(id);
  if (write.answered === undefined) return;
  // Changes that wait for this page together come as one event, with the version of the last.
  const known = [...write.arrived].filter(([version]) => version >= write.version).map(([, time]) => time);
  if (known.length === 0) return;
  const arrived = Math.min(...known);
  own.delete(id);
  $("own").textContent = milliseconds(arrived - write.answered);
  $("own-note").textContent = `from answer to event, ${key(id)}`;
}

// --- one object ---

function openObject(id) {
  opened = id;
  refreshOpened();
  $("object").showModal();
}

function refreshOpened() {
  if (!opened) return;
  const object = table.get(opened);
  $("object-id").textContent = key(opened);
  $("object-note").textContent = object ? `version ${object.version}; kept up to date` : "not in the result any more";
  if (object) $("object-json").textContent = JSON.stringify(object, null, 2);
  else if (!$("object").open) $("object-json").textContent = "";
}

// --- signing in ---

async function signIn(event) {
  event.preventDefault();
  $("login-problem").hidden = true;
  try {
    const user = await api.login($("username").value, $("password").value);
    $("identity").textContent = `${user.username} · sign out`;
    $("login").close();
    await begin();
  } catch (error) {
    $("login-problem").textContent = error.message;
    $("login-problem").hidden = false;
  } finally {
    $("password").value = "";
  }
}

// --- beginning ---

async function begin() {
  try {
    classes = await api.buckets();
  } catch (error) {
    refuse(error);
    classes = [];
  }
  listBuckets();
  const asked = new URLSearchParams(location.hash.slice(1));
  const query = asked.get("q") === null ? null : compact(asked.get("q"));
  const first = classes.find((one) => hintsOf(one.class.replace("/db/", "")).examples) ?? classes[0];
  choose(asked.get("bucket") || first?.class.replace("/db/", "") || "Message", query === null ? undefined : query instanceof Error ? asked.get("q") : pretty(JSON.parse(query)));
}

let typing;
$("query").addEventListener("input", () => {
  colour();
  clearTimeout(typing);
  typing = setTimeout(run, TYPING_MS);
});
$("query").addEventListener("scroll", () => {
  $("coloured").scrollTop = $("query").scrollTop;
  $("coloured").scrollLeft = $("query").scrollLeft;
});
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    clearTimeout(typing);
    run(true);
  }
});
$("copy").onclick = async () => {
  await navigator.clipboard?.writeText($("command").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
};
$("identity").onclick = async () => {
  if (!api.token) return $("login").showModal();
  api.token = null;
  $("identity").textContent = "Sign in";
  await begin();
};
$("login-form").onsubmit = signIn;
$("login-cancel").onclick = () => $("login").close();
$("object").onclose = () => (opened = null);
addEventListener("hashchange", begin);
addEventListener("online", () => live.hurry());
setInterval(() => {
  rates.draw();
  latency.draw();
}, 500);
begin();
