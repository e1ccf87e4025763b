// An app of its own origin, as its users open it: a page that loads the SDK's browser build.

import { createReadStream } from "node:fs";
import { createServer } from "node:http";

export async function serve(sdk, port = 0) {
  const server = createServer((request, response) => {
    if (request.url === "/sdk.js") {
      response.setHeader("content-type", "text/javascript");
      createReadStream(sdk).pipe(response);
    } else {
      response.setHeader("content-type", "text/html");
      response.end('<!doctype html><meta charset="utf-8"><title>App</title><script type="module">import * as Baqend from "/sdk.js"; window.Baqend = Baqend;</script><p>app</p>');
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { port: server.address().port, close: () => server.close() };
}
