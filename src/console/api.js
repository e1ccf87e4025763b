// The HTTP part: schema, one object, signing in.

// Classes that every server has and that are no app's data.
const BUILT_IN = new Set(["/db/Object", "/db/User", "/db/Role", "/db/Device", "/db/logs.AppLog"]);

// The server said no, and why.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  constructor(base) {
    this.base = base;
    // When the last answer was here. The network's own note of it: this script may have been busy just then.
    this.answered = 0;
    // In memory only: a token that is stored is one that another script of this origin could find.
    this.token = null;
  }

  async buckets() {
    const schema = await this.request("GET", "/schema");
    return schema.filter((one) => !one.embedded && !BUILT_IN.has(one.class));
  }

  get(id) {
    return this.request("GET", id);
  }

  // Replaces the object if it still has the version that it was read with.
  put(object) {
    return this.request("PUT", object.id, object, { "if-match": `"${object.version}"` });
  }

  async login(username, password) {
    this.token = null;
    return this.request("POST", "/db/User/login", { username, password });
  }

  async request(method, path, body, headers = {}) {
    if (body !== undefined) headers["content-type"] = "application/json;charset=utf-8";
    if (this.token) headers.authorization = `BAT ${this.token}`;
    let response;
    try {
      response = await fetch(this.base + path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    } catch {
      throw new Refused(0, "The server cannot be reached.");
    }
    const answer = await response.text();
    this.answered = performance.getEntriesByName(response.url, "resource").at(-1)?.responseEnd || performance.now();
    performance.clearResourceTimings();
    if (!response.ok) {
      let message = `${response.status} ${response.statusText}`;
      try {
        message = JSON.parse(answer).message ?? message;
      } catch {
        // Not from the server itself: a proxy's page says less than the status.
      }
      throw new Refused(response.status, message);
    }
    this.token = response.headers.get("baqend-authorization-token") ?? this.token;
    return answer ? JSON.parse(answer) : null;
  }
}
