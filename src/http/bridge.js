// A page of another origin speaks to the API through this frame: it posts a request, the frame makes it, and posts the answer.
"use strict";
{
  const { app, origins } = document.currentScript.dataset;
  const base = location.pathname.slice(0, location.pathname.lastIndexOf("/"));

  // An opaque origin ("null") cannot be named as the receiver of an answer, so it gets none.
  const mayAsk = (origin) => origin !== "null" && (origins === "*" || origins.split(" ").includes(origin));

  const read = (data) => {
    try {
      const { mid, method, path, headers, entity, responseHeaders } = JSON.parse(data);
      const named = method === "OAUTH" || (typeof path === "string" && path.startsWith("/"));
      const fits = mid && named && Array.isArray(responseHeaders);
      return fits ? { mid, method, path, headers, entity, responseHeaders } : null;
    } catch {
      return null;
    }
  };

  // What the frame was loaded with answers the first request for it.
  const welcome = () => {
    const node = document.getElementById("/connect");
    if (!node) return null;
    node.remove();
    const headers = { "content-type": "application/json" };
    if (node.dataset.token) headers["baqend-authorization-token"] = node.dataset.token;
    return { status: 200, headers, entity: node.text };
  };

  const ask = async ({ method, path, headers, entity, responseHeaders }) => {
    try {
      const answer = await fetch(base + path, { method, headers, body: entity ?? undefined, cache: "no-store" });
      const names = responseHeaders.filter((name) => answer.headers.has(name));
      return {
        status: answer.status,
        headers: Object.fromEntries(names.map((name) => [name, answer.headers.get(name)])),
        entity: await answer.text(),
      };
    } catch {
      return { status: 0, headers: {}, entity: "" };
    }
  };

  // A login at a provider goes on in a window of this origin. It tells its result by the storage that both see, or, where
  // browsers keep that from embedded pages, by a message that only pages of this origin get. Other apps may be on this origin,
  // too: their results are not for the page around this frame.
  const RESULT = "oauth-response";
  let waiting = null;
  const result = (data) => {
    try {
      const { app: of, status, headers, entity } = JSON.parse(data).oauth ?? {};
      return status && of === app ? { status, headers, entity } : null;
    } catch {
      return null;
    }
  };
  const forget = () => {
    try {
      localStorage.removeItem(RESULT);
    } catch { /* there is no storage here: the message remains */ }
  };
  const login = () =>
    new Promise((resolve) => {
      waiting?.({ status: 409, headers: {}, entity: '{"message":"Another login was begun."}' });
      forget();
      waiting = (answer) => {
        waiting = null;
        forget();
        resolve(answer);
      };
    });
  addEventListener("storage", ({ key, newValue }) => {
    const told = key === RESULT && newValue ? result(`{"oauth":${newValue}}`) : null;
    if (told) waiting?.(told);
  });

  addEventListener("message", async ({ data, origin, source }) => {
    if (origin === location.origin && result(data)) {
      waiting?.(result(data));
      return;
    }
    if (!mayAsk(origin)) return;
    const request = read(data);
    if (!request) return;
    if (request.method === "OAUTH") {
      source.postMessage(JSON.stringify({ mid: request.mid, ...(await login()) }), origin);
      return;
    }
    const known = request.method === "GET" && request.path === "/connect" ? welcome() : null;
    source.postMessage(JSON.stringify({ mid: request.mid, ...(known ?? (await ask(request))) }), origin);
  });
}
