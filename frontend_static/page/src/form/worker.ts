/** The worker that validates values, one at a time; `checker.ts` may terminate it at any moment. */

import { errorsOf, understood } from "./check.js";
import type { Asked, Answer } from "./checker.js";

const scope = globalThis as unknown as { postMessage(message: Answer): void; onmessage: (event: { data: Asked }) => void };

scope.onmessage = ({ data: { schema, value } }) => {
  try {
    const used = understood(schema);
    scope.postMessage({ errors: errorsOf(used.schema, value, used.schema), left: used.left });
  } catch (error) {
    scope.postMessage({ unusable: error instanceof Error ? error.message : String(error) });
  }
};
scope.postMessage({ ready: true });
