// The SDK's browser build on a page of another origin than the API's: it connects through the page behind POST /connect.
// Usage: node bridge.mjs API SDK-FILE PORT-OF-THE-ALLOWED-APP PASSWORD-OF-ROOT FOLDER-FOR-SCREENSHOTS
//
// Waits for what is to be seen, never for a time. Exits with 1 and says why when something is not to be seen.

import assert from "node:assert/strict";
import { join } from "node:path";
import { serve } from "./app.mjs";
import { launch } from "./launch.mjs";

const [api, sdk, port, password, folder] = process.argv.slice(2);
const app = await serve(sdk, Number(port));
const stranger = await serve(sdk);
const { browser, close } = await launch(folder);
const page = await browser.newPage();
const urls = [];
const posts = [];
page.on("request", (request) => {
  urls.push(request.url());
  if (request.method() === "POST" && request.url() === `${api}/connect`) posts.push(request.postData() ?? "");
});

const open = async (origin) => {
  await page.goto(origin);
  await page.waitForFunction(() => window.Baqend);
  await page.evaluate(async (api) => {
    window.db = await new Baqend.EntityManagerFactory({ host: api }).createEntityManager(true).ready();
  }, api);
};

const post = async (path, body, token) => {
  const headers = { "content-type": "application/json", ...(token ? { authorization: `BAT ${token}` } : {}) };
  const answer = await fetch(api + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.headers.get("baqend-authorization-token");
};
const root = await post("/db/User/login", { username: "root", password });
await post("/schema/Note", { class: "/db/Note", superClass: "/db/Object", acl: {}, fields: { text: { name: "text", type: "/db/String", order: 1 } } }, root);

const steps = {
  async "a page of an allowed origin connects, writes and reads through the bridge"() {
    await open(`http://127.0.0.1:${port}/`);
    assert.match(await page.evaluate(() => db.connection.constructor.name), /^IFrameConnector/);
    assert.equal(posts.length, 1, "the bridge was not asked for");
    assert.equal(await page.evaluate(() => db.User.me), null);
    await page.evaluate(async (password) => { await db.login("root", password); }, password);
    const name = await page.evaluate(async () => {
      const note = new db.Note({ id: "1", text: "</script><script>" });
      await note.insert();
      db.clear();
      return (await db.Note.load("1")).text;
    });
    assert.equal(name, "</script><script>");
  },

  async "whoever has logged in is known again after a reload, by the token in the form"() {
    await open(`http://127.0.0.1:${port}/`);
    assert.equal(await page.evaluate(() => db.User.me.username), "root");
    assert.match(posts.at(-1), /^BAT=[0-9a-f]{100,}$/);
    await page.screenshot({ path: join(folder, "bridge.png") });
  },

  async "no URL has a token in it"() {
    const token = posts.at(-1).slice("BAT=".length);
    assert.ok(urls.length > 3 && urls.every((url) => !url.includes(token.slice(-40)) && !url.includes("BAT=")));
  },

  async "the bridge does not keep what it was opened with"() {
    const frame = page.frames().find((frame) => frame.url() === `${api}/connect`);
    assert.ok(frame, "there is no frame");
    assert.equal(await frame.evaluate(() => document.getElementById("/connect")), null);
    assert.ok(!(await frame.content()).includes(posts.at(-1).slice(-40)), "the token is still in the page");
  },

  async "a page of another origin cannot embed it, nor get an answer from it"() {
    const refused = [];
    page.on("console", (message) => { if (/frame-ancestors/.test(message.text())) refused.push(message.text()); });
    await page.goto(`http://127.0.0.1:${stranger.port}/`);
    const answer = page.evaluate((api) => new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.name = "bridge";
      document.body.append(frame);
      const form = Object.assign(document.createElement("form"), { target: "bridge", method: "post", action: `${api}/connect` });
      document.body.append(form);
      addEventListener("message", (event) => resolve(event.data));
      frame.addEventListener("load", () => {
        frame.contentWindow.postMessage(JSON.stringify({ mid: 1, method: "GET", path: "/connect", headers: {}, responseHeaders: [] }), "*");
        setTimeout(() => resolve("nothing"), 1000);
      });
      form.submit();
    }), api);
    assert.equal(await answer, "nothing");
    assert.ok(refused.length > 0, "the browser showed the page");
  },

  async "a window of its own answers no stranger either"() {
    const answer = await page.evaluate((api) => new Promise((resolve) => {
      const form = Object.assign(document.createElement("form"), { target: "own", method: "post", action: `${api}/connect` });
      document.body.append(form);
      window.open("about:blank", "own");
      form.submit();
      addEventListener("message", (event) => resolve(event.data));
      const own = window.open("", "own");
      const ask = setInterval(() => own.postMessage(JSON.stringify({ mid: 1, method: "GET", path: "/connect", headers: {}, responseHeaders: [] }), "*"), 50);
      setTimeout(() => { clearInterval(ask); own.close(); resolve("nothing"); }, 2000);
    }), api);
    assert.equal(answer, "nothing");
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
    await page.screenshot({ path: join(folder, "failure.png") }).catch(() => {});
    break;
  }
}
await close();
app.close();
stranger.close();
process.exit(failed ? 1 : 0);
