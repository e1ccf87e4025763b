// The page at /_tidegate/ over buckets that come from topics: `Flight` is public, `Booking` is closed, and records come in all the
// time. Usage: node topic.mjs ORIGIN FOLDER-FOR-SCREENSHOTS PASSWORD-OF-ROOT
//
// Waits for what is to be seen, never for a time. Exits with 1 and says why when something is not to be seen.

import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "./launch.mjs";

const [origin, folder, password] = process.argv.slice(2);
const { browser, close } = await launch(folder);
const page = await browser.newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(String(error)));
const at = (bucket, query) => `${origin}/_tidegate/#bucket=${bucket}&q=${encodeURIComponent(query)}`;
const events = () => page.waitForFunction(() => ["add", "change", "remove"].every((kind) => document.querySelector(`#ticker li.${kind}`)));

let failed = false;
try {
  await page.goto(at("Flight", '{"delay":{"$gt":60}}'));
  await page.waitForSelector("#rows tr");
  await events();
  const columns = await page.locator("#columns th").allTextContents();
  assert.ok(["origin", "destination", "delay"].every((name) => columns.includes(name)), `the columns are ${columns}`);
  await page.screenshot({ path: join(folder, "public.png") });
  console.log("ok      a public bucket moves as its topic does");

  await page.goto("about:blank");
  await page.goto(at("Booking", '{"delay":{"$gt":60}}'));
  await page.waitForFunction(() => document.querySelector("#verdict").textContent === "refused" && !document.querySelector("#problem").hidden);
  assert.equal(await page.locator("#rows tr").count(), 0, "rows of a closed bucket");
  await page.screenshot({ path: join(folder, "closed.png") });
  console.log("ok      a closed bucket shows nothing, and says so");

  await page.locator("#identity").click();
  await page.fill("#username", "root");
  await page.fill("#password", password);
  await page.locator("#login-form .primary").click();
  await page.waitForSelector("#rows tr");
  await events();
  await page.screenshot({ path: join(folder, "signed-in.png") });
  console.log("ok      an administrator sees it move");
  assert.deepEqual(complaints, []);
} catch (error) {
  failed = true;
  console.log(`FAILED  ${error.stack}`, complaints);
  await page.screenshot({ path: join(folder, "failure.png") }).catch(() => {});
}
await close();
process.exit(failed ? 1 : 0);
