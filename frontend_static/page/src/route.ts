/**
 * Where the page is, in the location's hash: `#/server/demo/tools/echo?args=…`.
 *
 * A link only leads somewhere and fills in forms; it never calls anything.
 */

import { computed, signal } from "@preact/signals";

export interface Route {
  /** Decoded parts of the path; the first one names the view. */
  readonly parts: readonly string[];
  readonly query: Readonly<Record<string, string>>;
}

/** Read a hash; parts that are not well encoded are taken as they are. */
export function parseHash(hash: string): Route {
  const [path = "", search = ""] = cut(hash.replace(/^#/, ""), "?");
  const parts = path.split("/").filter((part) => part !== "").map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

/** The hash of a place; empty values of the query are left out. */
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

/** Where the page is now. */
export const route = computed(() => parseHash(here.value));

/** Go somewhere; `replace` leaves no entry in the history. */
export function go(parts: readonly string[], query: Readonly<Record<string, string | undefined>> = {}, replace = false): void {
  const hash = href(parts, query);
  if (hash === location.hash) return;
  if (replace) history.replaceState(history.state, "", hash);
  else history.pushState(null, "", hash);
  here.value = location.hash;
}
