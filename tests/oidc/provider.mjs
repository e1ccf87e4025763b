// A real OpenID Connect provider on loopback, told by its arguments what it is to be: JSON, {redirects, public, claims, id}.
// Says `issuer http://…` on its output when it listens. Whoever logs in with a name gets it as his subject; the accounts are
// those of `claims`. A line on the input changes it: `rotate` gives it another key to sign with.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const { redirects, claims = {}, secret = "a secret of the client", inIdToken = false } = JSON.parse(process.argv[2]);

const key = (kid) => ({ ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" });

const server = createServer((request, response) => handler(request, response));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

// Logins and grants outlive a rotation, as they would in a data base.
const kept = new Map();
class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) { kept.set(this.key(id), payload); if (payload.uid) kept.set(`uid:${payload.uid}`, id); }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid(uid) { return this.find(kept.get(`uid:${uid}`)); }
  async findByUserCode() { return undefined; }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { kept.delete(this.key(id)); }
  async revokeByGrantId() {}
}

function provider(keys) {
  const made = new Provider(issuer, {
    adapter: Memory,
    clients: [{ client_id: "shop", client_secret: secret, redirect_uris: redirects, grant_types: ["authorization_code"], response_types: ["code"] }],
    pkce: { required: () => true },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["preferred_username", "name"] },
    conformIdTokenClaims: !inIdToken,
    cookies: { keys: ["only for tests"] },
    jwks: { keys },
    features: { devInteractions: { enabled: true }, userinfo: { enabled: true } },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...(claims[sub] ?? {}) }) }),
  });
  made.on("server_error", (_, error) => console.error(error));
  return made.callback();
}

let number = 1;
let handler = provider([key("key-1")]);
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "rotate") {
    number += 1;
    handler = provider([key(`key-${number}`)]);
    console.log("rotated");
  }
}).on("close", () => process.exit(0));
console.log(`issuer ${issuer}`);
