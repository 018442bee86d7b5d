/** How a result is best shown: what it repeats, which part of it is a table, whether a text is Markdown. Pure: renders nothing. */

import { isObject, same, type Json } from "../form/schema.js";

/** A list of objects as a table. */
export interface Tabular {
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, Json>>[];
  /** Name of the member that is the table; empty where the value itself is. */
  readonly member: string;
  /** The other members of the object that has the table; undefined where there are none. */
  readonly rest: Json | undefined;
}

/** Columns of a table at most: an object with more is easier to read as a tree. */
const MAX_COLUMNS = 40;
/** Characters of a text in one line that is shown with the name of its member. */
const MAX_WORDS = 100;
/** Characters of a text that is parsed as JSON, at most: a tenth of a second. */
const MAX_JSON = 8_000_000;

/** A text as JSON; undefined where it is not an object or an array, or too long to be parsed at once. */
export function structureOf(text: string): Json | undefined {
  if (text.length > MAX_JSON || !/^\s*[[{]/.test(text)) return undefined;
  return parsed(text);
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/**
 * What to show of a result whose text and structured content may say the same (MCP asks servers to send both).
 *
 * @returns which of the two to show; the other one repeats it.
 */
export function unrepeated(content: readonly unknown[], structured: Json | undefined): { readonly content: boolean; readonly structured: boolean } {
  const both = { content: true, structured: true };
  const texts = content.map((block) => (isObject(block) && block["type"] === "text" && typeof block["text"] === "string" ? block["text"] : undefined));
  if (structured === undefined || texts.length === 0 || texts.some((text) => text === undefined || text.length > MAX_JSON)) return both;
  const value = unwrapped(structured);
  if (texts.length === 1 && !isBranch(value) && isText(texts[0] as string, value)) return { content: true, structured: false };
  const whole = texts.length === 1 && [structured, value].some((one) => isText(texts[0] as string, one));
  const only = isObject(structured) ? Object.values(structured as Record<string, Json>) : [];
  if (texts.length === 1 && only.length === 1 && only[0] === texts[0]) {
    const long = /\n/.test(texts[0] as string) || (texts[0] as string).length > MAX_WORDS;
    return { content: long, structured: !long };
  }
  const each = Array.isArray(value) && value.length === texts.length && value.every((item, index) => isText(texts[index] as string, item));
  return whole || each ? { content: false, structured: true } : both;
}

/** The value in `{"result": value}`, which SDKs make of what is not an object. */
function unwrapped(value: Json): Json {
  return isObject(value) && Object.keys(value).length === 1 ? ((value as Record<string, Json>)["result"] ?? value) : value;
}

function isBranch(value: Json): boolean {
  return typeof value === "object" && value !== null;
}

function isText(text: string, value: Json): boolean {
  if (text === value) return true;
  const read = parsed(text);
  return read !== undefined && same(read, value);
}

/** The table in a value: a list of objects, or an object with one such list; undefined where there is none. */
export function tableOf(value: unknown): Tabular | undefined {
  const own = columnsOf(value);
  if (own !== undefined) return { columns: own, rows: value as Tabular["rows"], member: "", rest: undefined };
  if (!isObject(value)) return undefined;
  const lists = Object.entries(value).filter(([, item]) => columnsOf(item) !== undefined);
  const [list] = lists;
  if (lists.length !== 1 || list === undefined) return undefined;
  const [member, rows] = list;
  const rest = Object.fromEntries(Object.entries(value).filter(([name]) => name !== member)) as Json;
  return { columns: columnsOf(rows) ?? [], rows: rows as Tabular["rows"], member, rest: Object.keys(rest as object).length > 0 ? rest : undefined };
}

/** The names of all members, in the order in which they appear; undefined where this is no list of objects. */
function columnsOf(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isObject)) return undefined;
  const names = [...new Set(value.flatMap((row) => Object.keys(row)))];
  return names.length > 0 && names.length <= MAX_COLUMNS ? names : undefined;
}

/** A cell as text; what is not a text is JSON, and a missing member is empty. */
export function cellOf(value: unknown): string {
  return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

/** Texts that a spreadsheet would take for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/** A table as CSV (RFC 4180). A text that a spreadsheet would run as a formula gets a `'` before it. */
export function csvOf({ columns, rows }: Pick<Tabular, "columns" | "rows">): string {
  const lines = rows.map((row) => columns.map((name) => guarded(Object.hasOwn(row, name) ? row[name] : undefined)));
  return [columns.map(guarded), ...lines].map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
}

function guarded(value: unknown): string {
  return typeof value === "string" && FORMULA.test(value) ? `'${value}` : cellOf(value);
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const COLLATOR = new Intl.Collator(undefined, { numeric: true });

/** The order of two cells: numbers by value, all else as text; missing ones come last. */
export function compareCells(first: unknown, second: unknown): number {
  if (first === undefined || second === undefined) return Number(first === undefined) - Number(second === undefined);
  if (typeof first === "number" && typeof second === "number") return first - second;
  return COLLATOR.compare(cellOf(first), cellOf(second));
}

/** Marks that only Markdown has, at the beginning of a line. */
const BLOCKS = [/^#{1,6} \S/m, /^```/m, /^\|.*\|\s*\n\|[ :|-]+\|/m];
/** Marks that other texts have as well: two of them make a text Markdown. */
const HINTS = [/^[-*+] \S.*\n[-*+] \S/m, /^1[.)] \S.*\n2[.)] \S/m, /\*\*[^\s*][^*\n]*\*\*/, /\[[^\]\n]+\]\(https?:[^)\s]+\)/, /`[^`\n]+`/, /^> \S/m];

/** Whether a text is written in Markdown, as far as its marks tell. JSON and markup are not. */
export function looksLikeMarkdown(text: string): boolean {
  if (/^\s*[[{<]/.test(text)) return false;
  const start = text.slice(0, 20_000);
  return BLOCKS.some((mark) => mark.test(start)) || HINTS.filter((mark) => mark.test(start)).length >= 2;
}
