// The page at /_tidegate/ as a visitor finds it. Usage: node page.mjs ORIGIN FOLDER-FOR-SCREENSHOTS
//
// Waits for what is to be seen, never for a time. Exits with 1 and says why when something is not to be seen.

import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "./launch.mjs";

const [origin, folder] = process.argv.slice(2);
const { browser, close } = await launch(folder);

const complaints = [];
const foreign = [];
let page;

async function open(hash = "") {
  page = await browser.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith("data:")) foreign.push(url);
  });
  await page.goto(`${origin}/_tidegate/${hash}`);
  await rows();
}

const text = (id) => page.locator(`#${id}`).textContent();
const number = async (id) => Number((await text(id)).replaceAll(/[^\d]/g, ""));
const rows = () => page.waitForSelector("#rows tr");
const until = (what, test, argument) => page.waitForFunction(test, argument).catch((error) => {
  throw new Error(`${what}: ${error.message}`);
});
const ask = async (query) => {
  await page.fill("#query", query);
};
// The result is of this query once the address says so and every row fits.
const column = (name) =>
  page.evaluate((name) => {
    const at = [...document.querySelectorAll("#columns th")].findIndex((cell) => cell.textContent === name);
    return [...document.querySelectorAll("#rows tr:not(.gone)")].map((row) => row.children[at].textContent.trim());
  }, name);
const shows = (name, values) =>
  until(`rows of which every ${name} is one of ${values}`, ([name, values]) => {
    const at = [...document.querySelectorAll("#columns th")].findIndex((cell) => cell.textContent === name);
    const cells = [...document.querySelectorAll("#rows tr:not(.gone)")].map((row) => row.children[at].textContent.trim());
    return cells.length > 0 && cells.every((cell) => values.includes(cell));
  }, [name, values]);
const shot = (name) => page.screenshot({ path: join(folder, `${name}.png`) });

const steps = {
  async "the first query shows its rows, live"() {
    await open();
    assert.equal(await text("connection"), "live");
    await shows("city", ["Paris"]);
    assert.match(await text("command"), /^tidegate watch \w+ '.*' --url /);
    assert((await text("command")).endsWith(` --url ${origin}/v1`), await text("command"));
    await until("an event in the ticker", () => document.querySelector("#ticker li.change, #ticker li.add, #ticker li.remove"));
    await until("a rate above zero", () => Number(document.querySelector("#rate").textContent) > 0);
    await until("a latency", () => /ms/.test(document.querySelector("#latency").textContent));
  },

  async "typing another query changes the result"() {
    await ask('{"category": "Maps", "state": "open"}');
    await shows("category", ["Maps"]);
    assert.match(page.url(), /bucket=Lot&q=.*Maps/);
    await until("events of the new result", () => document.querySelector("#ticker li.change"));
    const cities = new Set(await column("city"));
    assert.ok(cities.size > 1, "the query before is gone");
  },

  async "objects come, change and leave before one's eyes"() {
    await ask('{"state": "open"}');
    await until("all three kinds of events", () => ["add", "change", "remove"].every((kind) => document.querySelector(`#ticker li.${kind}`)));
    await until("rows in the hundreds", () => Number(document.querySelector("#count").textContent.replaceAll(/\D/g, "")) > 200);
    assert.match(await text("shown"), /first 200 of/);
    assert.equal(await page.locator("#rows tr:not(.gone)").count() <= 200, true);
  },

  async "a bad query is refused in place, with the server's words"() {
    await ask('{"price": {"$near": 3}}');
    await until("the problem", () => !document.querySelector("#problem").hidden && /\$near/.test(document.querySelector("#problem").textContent));
    await shot("problem-light");
    await ask('{"price": ');
    await until("a hint about JSON", () => /JSON/.test(document.querySelector("#problem").textContent));
    await ask('{"city": "Vienna", "state": "open"}');
    await shows("city", ["Vienna"]);
    assert.equal(await page.locator("#problem").isHidden(), true);
  },

  async "every example runs"() {
    for (const example of await page.locator("#examples button").all()) {
      await example.click();
      await until("an answer", () => document.querySelector("#verdict").textContent === "");
      assert.equal(await page.locator("#problem").isHidden(), true, await example.textContent());
    }
  },

  async "a bid of one's own comes back as an event"() {
    await ask('{"state": "open", "bids": {"$gte": 1}}');
    // Typed is not asked yet: until then there are rows to press in that go with the result before.
    await until("the answer", () => {
      const asked = new URLSearchParams(location.hash.slice(1)).get("q");
      return asked === '{"state":"open","bids":{"$gte":1}}' && document.querySelector("#verdict").textContent === "" && document.querySelector("#rows .raise:enabled");
    });
    await page.locator("#rows .raise:enabled").first().click();
    await until("what was written", () => document.querySelector("#ticker li.note"));
    await until("the time from answer to event", () => /ms/.test(document.querySelector("#own").textContent));
  },

  async "an object opens, and the keyboard reaches the next one"() {
    await page.locator("#rows .open").first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await until("the object's JSON", () => document.querySelector("#object").open && /"version"/.test(document.querySelector("#object-json").textContent));
    await shot("object-light");
    await page.keyboard.press("Escape");
    await until("it is closed", () => !document.querySelector("#object").open);
  },

  async "another bucket has other columns and examples"() {
    await page.getByRole("radio", { name: "Bid", exact: true }).click();
    await until("bids", () => [...document.querySelectorAll("#columns th")].some((cell) => cell.textContent === "amount") && document.querySelector("#rows tr"));
  },

  async "an address can be shared"() {
    await page.close();
    await open(`#bucket=Lot&q=${encodeURIComponent('{"city":"London","state":"open"}')}`);
    await shows("city", ["London"]);
  },

  async "a lost connection comes back, and nothing was missed"() {
    await page.close();
    const sockets = [];
    await browser.routeWebSocket(/\/events$/, (socket) => {
      socket.connectToServer();
      sockets.push(socket);
    });
    await open(`#bucket=Lot&q=${encodeURIComponent('{"state":"open"}')}`);
    await until("events", () => document.querySelector("#ticker li.change"));
    // It waits for half a second only.
    await page.evaluate(() => {
      const connection = document.querySelector("#connection");
      const look = () => { window.hasWaited ||= connection.dataset.state === "waiting"; };
      new MutationObserver(look).observe(connection, { attributes: true });
    });
    await sockets[0].close({ code: 1001 });
    await until("word of the loss", () => window.hasWaited);
    await until("word of the return", () => /nothing was missed/.test(document.querySelector("#ticker").textContent));
    assert.equal(await text("connection"), "live");
    assert.ok(sockets.length >= 2, `${sockets.length} connections`);
    // The result goes on from where it was: it is what the server counts, as soon as both are asked in one moment.
    await until("the server's own count", async () => {
      const answer = await fetch("/v1/db/Lot/count?q=" + encodeURIComponent('{"state":"open"}'));
      const { count } = await answer.json();
      return count === Number(document.querySelector("#count").textContent.replaceAll(/\D/g, ""));
    });
  },

  async "it looks right: light and dark, wide and narrow"() {
    await page.close();
    await open();
    for (const [width, height, name] of [[1440, 900, "desktop"], [1100, 800, "middle"], [390, 844, "narrow"]]) {
      await page.setViewportSize({ width, height });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await until("events go on", (before) => document.querySelector("#ticker").textContent !== before, await text("ticker"));
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${name}: ${overflow} px too wide`);
        await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), fullPage: name === "narrow" });
      }
    }
  },
};

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  const from = performance.now();
  try {
    await step();
    console.log(`ok      ${name} (${Math.round(performance.now() - from)} ms)`);
  } catch (error) {
    failed = true;
    console.log(`FAILED  ${name}\n        ${error.stack}`);
    console.log("        the browser's complaints:", complaints);
    await shot("failure").catch(() => {});
    break;
  }
}
if (!failed) {
  // A query that the server refuses and a write that was outbid are answered with a status that Chromium reports.
  const unexpected = complaints.filter((complaint) => !/status of 4(00|12)/.test(complaint));
  if (unexpected.length > 0) console.log("FAILED  the browser complains:", unexpected);
  if (foreign.length > 0) console.log("FAILED  the page asks others:", foreign);
  failed = unexpected.length + foreign.length > 0;
}
await close();
process.exit(failed ? 1 : 0);
