// The example app in two browsers side by side: Ada acts, Bob looks, and the other way round.
// Usage: node example.mjs PAGE API FOLDER-FOR-SCREENSHOTS
//
// Waits for what is to be seen, never for a time. Exits with 1 and says why when something is not to be seen.

import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "./launch.mjs";

const [origin, api, folder] = process.argv.slice(2);
const address = `${origin}/?api=${encodeURIComponent(api)}`;
const complaints = [];

// A profile of his own each, as on two machines.
async function visitor(name) {
  const { browser, close } = await launch(folder);
  const page = await browser.newPage();
  await page.setViewportSize({ width: 1000, height: 620 });
  page.on("pageerror", (error) => complaints.push(`${name}: ${error}`));
  page.on("console", (message) => message.type() === "error" && complaints.push(`${name}: ${message.text()}`));
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector("#status").textContent === "live");
  const enter = async (how, password = `password of ${name}`) => {
    await page.fill("#door [name=username]", name);
    await page.fill("#door [name=password]", password);
    await page.click(`#door [value=${how}]`);
  };
  const card = (text) => page.locator("li", { hasText: text });
  return {
    name, page, close, enter, card,
    shot: (what) => page.screenshot({ path: join(folder, `${what}-${name}.png`) }),
    trouble: () => page.locator("#trouble:visible").textContent(),
    isIn: () => page.waitForSelector("#me:visible"),
    add: async (column, text) => {
      await page.fill(`#${column} .new input`, text);
      await page.press(`#${column} .new input`, "Enter");
    },
    sees: (column, text) => page.locator(`#${column} li`, { hasText: text }).waitFor(),
    misses: (text) => card(text).waitFor({ state: "detached" }),
  };
}

const ada = await visitor("Ada");
const bob = await visitor("Bob");

const steps = {
  async "whoever is not logged in looks, and adds nothing"() {
    assert.equal(await ada.page.locator(".new:visible").count(), 0);
    const refused = await ada.page.evaluate(() =>
      new Baqend.db.Card({ text: "anonymous", column: "todo" }).insert().then(() => "done", (error) => error.message));
    assert.match(refused, /insert permissions are required/);
  },

  async "register, and log in with the wrong and the right password"() {
    await ada.enter("register");
    await ada.isIn();
    await bob.enter("register");
    await bob.isIn();
    await bob.page.click("#leave");
    await bob.enter("login", "not this one");
    assert.match(await bob.trouble(), /User name or password is incorrect/);
    await bob.enter("login");
    await bob.isIn();
    assert.equal(await bob.page.locator("#trouble:visible").count(), 0);
  },

  async "what Ada adds Bob sees, and the other way round"() {
    await ada.add("todo", "Order the sails");
    await bob.sees("todo", "Order the sails");
    await bob.add("todo", "Paint the hull <b>blue</b> & white");
    await ada.sees("todo", "Paint the hull <b>blue</b> & white");
    await ada.add("doing", "Ask the harbour master");
    await bob.sees("doing", "Ask the harbour master");
    await Promise.all([ada.shot("added"), bob.shot("added")]);
  },

  async "a card that is moved and edited moves and changes in the other window"() {
    await ada.card("Order the sails").locator(".on").click();
    await bob.sees("doing", "Order the sails");
    // Until the board is drawn anew for this there is a button that goes with what was there before.
    await ada.sees("doing", "Order the sails");
    await ada.card("Ask the harbour master").locator(".edit").click();
    await ada.page.fill("li .text input", "Ask the harbour master for Friday");
    await ada.page.press("li .text input", "Enter");
    await bob.sees("doing", "Ask the harbour master for Friday");
    await ada.card("Ask the harbour master").locator(".on").click();
    await bob.sees("done", "Ask the harbour master for Friday");
    await Promise.all([ada.shot("moved"), bob.shot("moved")]);
  },

  async "nobody changes the card of another, not even past the page"() {
    assert.equal(await bob.card("Order the sails").locator(".tools:visible").count(), 0);
    assert.equal(await bob.card("Paint the hull").locator(".tools:visible").count(), 1);
    const id = await bob.card("Order the sails").getAttribute("data-id");
    for (const trick of ["update", "delete"]) {
      const refused = await bob.page.evaluate(async ([id, trick]) => {
        const card = await Baqend.db.Card.load(id);
        card.column = "done";
        const answer = await card[trick]().then(() => "done", (error) => error.message);
        await card.load({ refresh: true });
        return answer;
      }, [id, trick]);
      assert.match(refused, /write permissions are required/, trick);
    }
    await ada.sees("doing", "Order the sails");
  },

  async "what is deleted is gone from both"() {
    await bob.card("Paint the hull").locator(".drop").click();
    await ada.misses("Paint the hull");
    await bob.sees("doing", "Order the sails");
    await ada.sees("doing", "Order the sails");
  },

  async "who reloads is still logged in and sees the same"() {
    await ada.page.reload();
    await ada.isIn();
    await ada.sees("doing", "Order the sails");
    assert.equal(await ada.card("Order the sails").locator(".tools:visible").count(), 1);
  },

  async "it looks right: dark, and narrow"() {
    await bob.page.emulateMedia({ colorScheme: "dark" });
    await bob.shot("dark");
    await bob.page.setViewportSize({ width: 390, height: 844 });
    const overflow = await bob.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
    await bob.shot("narrow");
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
    console.log("        the browsers' complaints:", complaints);
    await Promise.all([ada.shot("failure"), bob.shot("failure")]).catch(() => {});
    break;
  }
}
// What was refused on purpose is a status that Chromium reports.
const unexpected = complaints.filter((complaint) => !/status of 46[06]/.test(complaint));
if (!failed && unexpected.length > 0) {
  console.log("FAILED  a browser complains:", unexpected);
  failed = true;
}
await Promise.all([ada.close(), bob.close()]);
process.exit(failed ? 1 : 0);
