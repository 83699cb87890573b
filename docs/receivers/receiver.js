// WEBHOOK_SECRET=whsec_… PORT=8080 node receiver.js
const { createHmac, timingSafeEqual } = require("node:crypto");
const { createServer } = require("node:http");

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
const tolerance = 5 * 60; // seconds
const done = new Set(); // keep it where the work is done, and write both in one transaction

function isGenuine({ "webhook-id": message, "webhook-timestamp": sentAt, ...headers }, body) {
  if (!(Math.abs(Date.now() / 1000 - sentAt) <= tolerance)) return false; // also if there is none
  const signed = createHmac("sha256", key).update(`${message}.${sentAt}.`).update(body);
  const expected = Buffer.from(`v1,${signed.digest("base64")}`);
  // While the secret is rotated there are two signatures.
  const given = (headers["webhook-signature"] ?? "").split(" ").map((one) => Buffer.from(one));
  return given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
}

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part)).on("end", () => {
    const [message, body] = [request.headers["webhook-id"], Buffer.concat(parts)];
    const genuine = isGenuine(request.headers, body);
    if (genuine && !done.has(message)) console.log(JSON.parse(body).type);
    if (genuine) done.add(message);
    response.writeHead(genuine ? 200 : 401).end();
  });
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log(`port ${server.address().port}`));
