/** Tells the page around this one where the user is, so that it can name its panel and come back there. */

import { effect } from "@preact/signals";
import { route } from "./route.js";
import { embedded } from "./theme.js";

/** Send `{type: "mcp-ws-route", route: "#/…"}` now and at each change; only to a page of our own origin. */
export function tellParent(): void {
  if (!embedded || window.parent === window) return;
  effect(() => {
    void route.value;
    window.parent.postMessage({ type: "mcp-ws-route", route: location.hash }, location.origin);
  });
}
