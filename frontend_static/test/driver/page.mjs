// The driver in a page: `drive(command)`, and events go to the function `told` that the test has installed.
import { Driver } from "./core.mjs";

const driver = new Driver((event) => globalThis.told(JSON.stringify(event)));
globalThis.drive = (command) => void driver.handle(command);
