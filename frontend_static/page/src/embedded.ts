/** Tells the page around this one which route is shown, so that it can title its panel and restore the route. */

import { effect } from "@preact/signals";
import { route } from "./route.js";
import { embedded } from "./theme.js";

/** Send `{type: "mcp-ws-route", route: "#/…"}` now and at each change; only to a page of the same origin. */
export function tellParent(): void {
  if (!embedded || window.parent === window) return;
  effect(() => {
    void route.value;
    window.parent.postMessage({ type: "mcp-ws-route", route: location.hash }, location.origin);
  });
}
