// The driver under Node: one command per line on stdin, one event per line on stdout.
import { createInterface } from "node:readline";
import { Driver } from "./core.mjs";

const driver = new Driver((event) => process.stdout.write(`${JSON.stringify(event)}\n`));
createInterface({ input: process.stdin })
  .on("line", (line) => void driver.handle(JSON.parse(line)))
  .on("close", () => process.exit());
