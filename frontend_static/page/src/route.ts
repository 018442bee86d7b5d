/**
 * The route of the page, in the location's hash: `#/server/demo/tools/echo?args=…`.
 *
 * A route selects a view and fills in forms; it never calls anything.
 */

import { computed, signal } from "@preact/signals";

export interface Route {
  /** Decoded parts of the path; the first names the view. */
  readonly parts: readonly string[];
  readonly query: Readonly<Record<string, string>>;
}

/** Parse a hash; parts that are not valid percent-encoding are taken literally. */
export function parseHash(hash: string): Route {
  const [path = "", search = ""] = cut(hash.replace(/^#/, ""), "?");
  const parts = path.split("/").filter((part) => part !== "").map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

/** The hash of a route; empty query values are left out. */
export function href(parts: readonly string[], query: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== "");
  const search = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index + 1)];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const here = signal(globalThis.location?.hash ?? "");
globalThis.addEventListener?.("hashchange", () => (here.value = location.hash));

/** The current route. */
export const route = computed(() => parseHash(here.value));

/** Change the route; with `replace`, without a new history entry. */
export function go(parts: readonly string[], query: Readonly<Record<string, string | undefined>> = {}, replace = false): void {
  const hash = href(parts, query);
  if (hash === location.hash) return;
  if (replace) history.replaceState(history.state, "", hash);
  else history.pushState(null, "", hash);
  here.value = location.hash;
}
