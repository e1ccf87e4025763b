// The other end of the SDK's connection from pages of other origins. The page that embeds this one sends requests as
// messages, {mid, method, path, headers, entity, responseHeaders}; each is made here, where it is of the same origin, and
// answered with {mid, status, headers, entity}. No cookie gives a request any rights: they come with its own headers.
"use strict";
(() => {
  const allowed = JSON.parse(document.getElementById("origins").textContent);
  const base = location.pathname.slice(0, location.pathname.lastIndexOf("/"));
  // A page without an origin of its own cannot be told from any other one, so there is none to answer to.
  const isAllowed = (origin) => origin !== "null" && (allowed.includes("*") || allowed.includes(origin));
  const read = (data) => {
    try {
      const message = JSON.parse(data);
      return message !== null && typeof message === "object" ? message : {};
    } catch {
      return {};
    }
  };

  function answer(to, status, headers, entity) {
    to.window.postMessage(JSON.stringify({ mid: to.mid, status, headers, entity }), to.origin);
  }

  // What came with this page, once: it is stale from then on, and may hold a token.
  function embedded(message, to) {
    const node = message.method === "GET" && message.path === "/connect" ? document.getElementById("/connect") : null;
    if (!node) return false;
    const headers = { "content-type": "application/json" };
    const token = JSON.parse(node.textContent).token;
    if (token) headers["baqend-authorization-token"] = token;
    node.remove();
    answer(to, 200, headers, node.textContent);
    return true;
  }

  function ask(message, to) {
    if (typeof message.path !== "string" || !message.path.startsWith("/")) return answer(to, 0, {}, null);
    const request = new XMLHttpRequest();
    request.onloadend = () => {
      const names = Array.isArray(message.responseHeaders) ? message.responseHeaders : [];
      const headers = Object.fromEntries(names.map((name) => [name, request.getResponseHeader(name)]));
      answer(to, request.status, headers, request.responseText);
    };
    try {
      request.open(message.method, base + message.path, true);
      for (const [name, value] of Object.entries(message.headers || {})) request.setRequestHeader(name, value);
      request.send(message.entity);
    } catch {
      answer(to, 0, {}, null);
    }
  }

  // A login at a provider goes on in a window of this origin, which tells its result by the storage that both see, or,
  // where browsers keep storage apart for embedded pages, by a message that only pages of this origin get.
  let waiting = null;
  function forget() {
    try {
      localStorage.removeItem("oauth-response");
    } catch { /* a browser that gives embedded pages no storage at all: the message remains */ }
  }
  function login(to) {
    if (waiting) waiting({ status: 409, headers: {}, entity: '{"message":"Another login was begun."}' });
    forget();
    const stored = (event) => {
      if (event.key === "oauth-response" && event.newValue && waiting) waiting(read(event.newValue));
    };
    waiting = (result) => {
      waiting = null;
      removeEventListener("storage", stored);
      forget();
      answer(to, result.status, result.headers, result.entity);
    };
    addEventListener("storage", stored);
  }

  addEventListener("message", (event) => {
    const message = read(event.data);
    if (event.origin === location.origin && message.oauth) {
      if (waiting) waiting(message.oauth);
      return;
    }
    if (!isAllowed(event.origin) || !event.source || typeof message.mid !== "number") return;
    const to = { mid: message.mid, origin: event.origin, window: event.source };
    if (message.method === "OAUTH") return login(to);
    if (!embedded(message, to)) ask(message, to);
  });
})();
