// A uWebSockets server as Bun ships it: every websocket subscribes to one topic; what is POSTed is published to it.
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 0, // the writer pauses while others have their turn
  async fetch(request, server) {
    if (request.method === "POST") {
      server.publish("all", await request.text());
      return new Response(null, { status: 204 });
    }
    if (server.upgrade(request)) return;
    return new Response("a websocket is expected", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) { socket.subscribe("all"); },
    message() {},
  },
});
console.log(`http://127.0.0.1:${server.port}/`);
