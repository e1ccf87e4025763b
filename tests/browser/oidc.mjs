// Login at a provider from a page of another origin, with the SDK's browser build: in a window of its own, and by going there
// and back. Usage: node oidc.mjs API SDK-FILE PORT-OF-THE-ALLOWED-APP FOLDER-FOR-SCREENSHOTS
//
// Waits for what is to be seen, never for a time. Exits with 1 and says why when something is not to be seen.

import assert from "node:assert/strict";
import { join } from "node:path";
import { serve } from "./app.mjs";
import { launch } from "./launch.mjs";

const [api, sdk, port, folder] = process.argv.slice(2);
const app = await serve(sdk, Number(port));

async function visit(host) {
  const { browser, close } = await launch(folder);
  const page = await browser.newPage();
  // What a page or a frame in it complains of says why something does not come.
  page.on("pageerror", (error) => console.log(`        ${error}`));
  page.on("console", (message) => message.type() === "error" && console.log(`        ${message.text()}`));
  const connect = async () => {
    await page.waitForFunction(() => window.Baqend);
    await page.evaluate(async (api) => {
      window.db = await new Baqend.EntityManagerFactory({ host: api }).createEntityManager(true).ready();
    }, api);
  };
  await page.goto(`http://${host}:${port}/`);
  await connect();
  return { browser, page, connect, close };
}

// The provider's own forms: login, then consent.
async function pass(page, name) {
  await page.fill('input[name="login"]', name);
  await page.fill('input[name="password"]', "x");
  await page.click('button[type="submit"]');
  await page.waitForSelector('input[name="prompt"][value="consent"]', { state: "attached" });
  await page.click('button[type="submit"]');
}

// In a window that the SDK opens.
async function popup(host) {
  const { browser, page, close } = await visit(host);
  const opened = browser.waitForEvent("page");
  const logged = page.evaluate(async () => {
    const user = await db.loginWithOAuth("acme", { oAuthVersion: 1 });
    return { name: user.username, me: db.User.me.username };
  });
  const window = await opened;
  const urls = [];
  window.on("framenavigated", (frame) => urls.push(frame.url()));
  // Another app on the API's origin has a login that ends just now: it is not told to this page.
  const frame = page.frames().find((frame) => frame.url().startsWith(api));
  await frame.evaluate(() => {
    const result = { app: "other", status: 200, headers: {}, entity: '{"id":"/db/User/other","username":"somebody else"}' };
    postMessage(JSON.stringify({ oauth: result }), location.origin);
    dispatchEvent(new StorageEvent("storage", { key: "oauth-response", newValue: JSON.stringify(result) }));
  });
  await pass(window, "s-1");
  const closed = window.isClosed() ? Promise.resolve() : window.waitForEvent("close");
  assert.deepEqual(await logged, { name: "jo", me: "jo" });
  await closed;
  const token = await page.evaluate(() => db.token);
  assert.ok(token && urls.length > 0 && urls.every((url) => !url.includes(token.slice(-40))), "no URL has the token in it");
  await page.screenshot({ path: join(folder, `popup-${host}.png`) });
  await close();
}

const steps = {
  async "a page of the same site logs in in a window of the SDK's"() {
    await popup("127.0.0.1");
  },

  // Browsers keep the storage of pages apart that other sites embed.
  async "a page of another site does too"() {
    await popup("localhost");
  },

  async "a page that goes to the provider comes back logged in"() {
    const { page, connect, close } = await visit("127.0.0.1");
    await page.evaluate((api) => db.loginWithOAuth("acme", {
      path: `${api}/db/User/OAuth/acme`, redirect: `${location.origin}/back?a=b`, clientId: "shop", scope: "profile",
    }), api);
    await pass(page, "s-1");
    await page.waitForURL(/\/back\?a=b#/);
    const token = new URLSearchParams(new URL(page.url()).hash.slice(1)).get("token");
    await connect();
    const name = await page.evaluate(async (token) => {
      db.token = token;
      return (await db.renew()).username;
    }, token);
    assert.equal(name, "jo");
    await close();
  },
};

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED  ${name}\n${error.stack}`);
    break;
  }
}
app.close();
process.exit(failed ? 1 : 0);
