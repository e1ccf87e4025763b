// The live protocol as a page needs it: one socket, one subscription at a time, which comes back by itself
// and goes on where it was. docs/protocol.md describes the messages.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

export class Live {
  // told: {connection(state, pause), result(data, fresh), match(message, took), resumed(), error(error)};
  // `took` is the time from the commit, milliseconds; undefined for what was committed while we were away.
  constructor(url, told) {
    this.url = url;
    this.told = told;
    this.asked = null;
    this.pause = FIRST_PAUSE;
    this.open();
  }

  // Replaces what is subscribed to. Nothing of an earlier subscription is told after this.
  subscribe(bucket, query, token) {
    this.unsubscribe();
    this.asked = { id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), bucket, query, token, position: null };
    this.send();
  }

  unsubscribe() {
    if (this.asked && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ id: this.asked.id, type: "unsubscribe" }));
    }
    this.asked = null;
  }

  open() {
    this.told.connection("connecting");
    const socket = (this.socket = new WebSocket(this.url));
    socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.told.connection("live");
      this.send();
    };
    socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    socket.onclose = () => {
      this.told.connection("waiting", this.pause);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    };
  }

  // Does not wait for the pause.
  hurry() {
    if (this.socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.open();
  }

  send() {
    const asked = this.asked;
    if (!asked || this.socket.readyState !== WebSocket.OPEN) return;
    const message = {
      id: asked.id, type: "subscribe", bucket: asked.bucket, query: asked.query,
      initial: true, matchTypes: ["all"], operations: ["any"], reconnects: -1, extensions: true,
    };
    if (asked.token) message.token = asked.token;
    if (asked.position) message.position = asked.position;
    asked.sent = Date.now();
    this.socket.send(JSON.stringify(message));
  }

  hear(message) {
    const asked = this.asked;
    if (!asked || (message.id !== undefined && message.id !== asked.id)) return;
    if (message.position) asked.position = message.position;
    switch (message.type) {
      case "result": {
        const now = Date.now();
        // How far the server's clock is ahead. Within what the way there and back leaves open, the clocks are
        // taken to agree, as they do on one machine.
        const ahead = Date.parse(message.date) - (asked.sent + now) / 2;
        asked.skew = Math.abs(ahead) > (now - asked.sent) / 2 + 100 ? ahead : 0;
        // The second one of a subscription replaces the first: we fell too far behind to be told one by one.
        const fresh = message.fresh === true || asked.answered === true;
        asked.answered = true;
        this.told.result(message.data, fresh);
        break;
      }
      case "match": {
        const committed = Date.parse(message.date) - (asked.skew ?? 0);
        this.told.match(message, committed < asked.sent ? undefined : Date.now() - committed);
        break;
      }
      case "resumed":
        this.told.resumed();
        break;
      case "error":
        this.asked = null;
        this.told.error(message.error);
        break;
      // "position" has been taken; other types are for clients newer than this one.
    }
  }
}
