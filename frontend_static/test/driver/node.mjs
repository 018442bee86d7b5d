// The driver under Node: one command per line on stdin, one event per line on stdout. `fresh` begins with a new driver,
// since a Node costs more to start than most tests take.
import { createInterface } from "node:readline";
import { Driver } from "./core.mjs";

const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
let driver;

/** Replace the driver, if there is one; nothing that it still has to tell is passed on. */
function begin() {
  driver?.abandon().catch(() => {});
  const mine = new Driver((event) => driver === mine && tell(event));
  driver = mine;
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.do !== "fresh") return void driver.handle(command);
    begin();
    tell({ n: command.n, value: null });
  })
  .on("close", () => process.exit());
