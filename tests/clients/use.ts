// Uses a client that is made from the OpenAPI document: scripts/test-clients.
import createClient from "openapi-fetch";
import type { paths } from "./client.js";

function sure<T>(value: T | undefined, otherwise: unknown): T {
  if (value === undefined) throw new Error(JSON.stringify(otherwise));
  return value;
}

const client = createClient<paths>({ baseUrl: process.argv[2] });

const made = await client.POST("/tasks", { body: { title: "From TypeScript", userId: 1 } });
const task = sure(made.data, made.error);
const at = { params: { path: { id: task.id } } };

const changed = await client.PATCH("/tasks/{id}", { ...at, body: { status: "completed" } });
if (sure(changed.data, changed.error).version !== 2) throw new Error("the change has no version");

const refused = await client.POST("/tasks", { body: { title: "" } });
if (sure(refused.error, refused.data).status !== 400) throw new Error("no title is a title");

const page = await client.GET("/tasks", { params: { query: { status: "completed", limit: 5 } } });
const titles = sure(page.data, page.error).data.map((one) => one.title);
if (!titles.includes("From TypeScript")) throw new Error(`it is not among ${titles}`);

await client.DELETE("/tasks/{id}", at);
const gone = await client.GET("/tasks/{id}", at);
if (gone.response.status !== 404) throw new Error("it is still there");
console.log(`task ${task.id} was made, changed, found and deleted`);
