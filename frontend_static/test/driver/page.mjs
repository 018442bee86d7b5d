// The driver in a page: `drive(command)`, and events to the function `told` that the test has put there.
import { Driver } from "./core.mjs";

const driver = new Driver((event) => globalThis.told(JSON.stringify(event)));
globalThis.drive = (command) => void driver.handle(command);
