/** Entries of the user's mcp.json over REST (docs/guides/manage-servers.md). */

import { rest, type Problem } from "../api.js";

/** An entry of mcp.json; values that may be secret are {@link Hidden}. */
export type Entry = Record<string, any>;

/** Stands for a stored value that is not shown; sent back unchanged, it keeps the value. */
export interface Hidden {
  readonly hidden: string;
  readonly shown?: string;
}

/** An entry of another client on the gateway's machine. */
export interface Origin {
  readonly path: string;
  readonly key: string;
}

export function isHidden(value: unknown): value is Hidden {
  return typeof value === "object" && value !== null && typeof (value as Hidden).hidden === "string" && Object.keys(value).every((key) => key === "hidden" || key === "shown");
}

export interface Launch {
  readonly kind: string;
  readonly command: string | null;
  readonly program: string | null;
  readonly args: readonly (string | null)[];
  readonly cwd: string | null;
  readonly env: readonly string[];
  /** The variables' values, as far as they may be shown. */
  readonly values: Readonly<Record<string, string>>;
  readonly url: string | null;
  readonly headers: readonly string[];
  readonly python: string | null;
  readonly group: readonly string[];
  readonly ca_file: string | null;
  readonly oauth: Readonly<Record<string, string>> | null;
  readonly notes: readonly string[];
}

export interface Preview {
  readonly digest: string | null;
  readonly launch: Launch | null;
  readonly problems: readonly Problem[];
  readonly version: string;
}

export interface Definition {
  readonly name: string;
  readonly file: string;
  readonly version: string;
  readonly entry: Entry;
  readonly consent: { readonly by: string; readonly at: number } | null;
  readonly awaits: boolean;
  readonly digest: string | null;
  readonly launch: Launch;
}

export interface Report {
  readonly ok: boolean;
  readonly error: string;
  readonly era: string;
  readonly server: string;
  readonly version: string;
  readonly tools: number | null;
  /** What is odd about its list of tools; empty if nothing is. */
  readonly note: string;
  readonly seconds: number;
  readonly stderr: readonly string[];
}

function path(name: string, what: string): string {
  return `servers/${encodeURIComponent(name)}/${what}`;
}

export function read(name: string): Promise<Definition> {
  return rest(path(name, "definition"));
}

/**
 * What an entry would run, and its problems. Starts nothing.
 *
 * @param from where hidden values come from, if not from the stored entry.
 */
export function preview(name: string, entry: Entry, signal?: AbortSignal, from?: Origin): Promise<Preview> {
  return rest(path(name, "preview"), { method: "POST", body: { entry, ...(from && { from }) }, ...(signal && { signal }) });
}

/**
 * @param consent digest of the preview that the user allowed; without it nothing is started.
 * @param from as of {@link preview}.
 */
export function save(name: string, entry: Entry, version: string, consent?: string, from?: Origin): Promise<Definition> {
  return rest(path(name, "definition"), { method: "PUT", headers: { "If-Match": `"${version}"` }, body: { entry, ...(consent && { consent }), ...(from && { from }) } });
}

export async function remove(name: string): Promise<void> {
  const { version } = await read(name);
  await rest(path(name, "definition"), { method: "DELETE", headers: { "If-Match": `"${version}"` } });
}

export function agree(name: string, digest: string): Promise<void> {
  return rest(path(name, "consent"), { method: "POST", body: { digest } });
}

/**
 * Start the server once, initialize it, list its tools, and end it.
 *
 * @param from as of {@link preview}.
 */
export function tryOnce(name: string, entry: Entry, consent: string, from?: Origin): Promise<Report> {
  return rest(path(name, "try"), { method: "POST", body: { entry, consent, ...(from && { from }) } });
}
