// Answers lines {"document": …, "query": …} with lines true, false or {"error": "…"}, by mingo.
import { createInterface } from "node:readline";
import { Query } from "mingo";

// {"$date": …} is an instant, everything else is as JSON has it.
function revive(_, value) {
  if (value !== null && typeof value === "object" && Object.keys(value).length === 1 && "$date" in value) {
    return new Date(value.$date);
  }
  return value;
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let answer;
  try {
    const { document, query } = JSON.parse(line, revive);
    answer = new Query(query).test(document);
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
