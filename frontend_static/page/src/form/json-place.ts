/**
 * Where a text stops being JSON (RFC 8259), and what was expected there. Browsers' own messages differ, and some have no
 * position. Pure.
 */

export interface Mistake {
  /** Characters before the mistake. */
  readonly at: number;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** What is wrong, as the end of a sentence: `a value is missing`. */
  readonly what: string;
}

/** Nested lists and objects that are followed; deeper ones are not JSON that anybody types. */
const MAX_DEPTH = 500;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORD = /(?:true|false|null)\b/y;
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;

class Stop {
  constructor(
    readonly at: number,
    readonly what: string,
  ) {}
}

/** The first mistake of a text; undefined where it is JSON. */
export function mistakeIn(text: string): Mistake | undefined {
  try {
    const end = skip(text, valueEnd(text, skip(text, 0), 0));
    if (end < text.length) throw new Stop(end, "nothing may follow the value");
    return undefined;
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    const before = text.slice(0, stop.at).split("\n");
    return { at: stop.at, line: before.length, column: (before.at(-1) ?? "").length + 1, what: stop.what };
  }
}

/** A mistake as the end of a sentence: `line 2, column 5: a comma is missing`. */
export function placed({ line, column, what }: Mistake): string {
  return `line ${line}, column ${column}: ${what}`;
}

function matched(text: string, at: number, token: RegExp): number {
  token.lastIndex = at;
  return token.test(text) ? token.lastIndex : at;
}

function skip(text: string, at: number): number {
  return matched(text, at, SPACE);
}

/** Where a value that begins here ends. */
function valueEnd(text: string, at: number, depth: number): number {
  if (depth > MAX_DEPTH) throw new Stop(at, "too many levels");
  if (text[at] === '"') return stringEnd(text, at);
  if (text[at] === "[") return listEnd(text, at, depth);
  if (text[at] === "{") return objectEnd(text, at, depth);
  const end = matched(text, at, NUMBER) > at ? matched(text, at, NUMBER) : matched(text, at, WORD);
  if (end > at) return end;
  if (text[at] === "'") throw new Stop(at, 'a string must be in double quotes (")');
  throw new Stop(at, at < text.length && !/[\]},]/.test(text[at] ?? "") ? "this is not a value; a string must be in double quotes" : "a value is missing");
}

function stringEnd(text: string, at: number): number {
  const end = matched(text, at, TEXT);
  if (text[end] === '"') return end + 1;
  if (end >= text.length) throw new Stop(at, "this text has no closing quote");
  throw new Stop(end, text[end] === "\\" ? "this escape does not exist" : "a line break in a text must be written as \\n");
}

function listEnd(text: string, start: number, depth: number): number {
  let at = skip(text, start + 1);
  if (text[at] === "]") return at + 1;
  for (;;) {
    at = skip(text, valueEnd(text, at, depth + 1));
    if (text[at] === "]") return at + 1;
    at = comma(text, at, "]", start);
  }
}

function objectEnd(text: string, start: number, depth: number): number {
  let at = skip(text, start + 1);
  if (text[at] === "}") return at + 1;
  for (;;) {
    if (text[at] !== '"') throw new Stop(at, "a member must begin with its name, in double quotes");
    at = skip(text, stringEnd(text, at));
    if (text[at] !== ":") throw new Stop(at, "a colon is missing");
    at = skip(text, valueEnd(text, skip(text, at + 1), depth + 1));
    if (text[at] === "}") return at + 1;
    at = comma(text, at, "}", start);
  }
}

/** Where the next item begins. @param start where the list or object begins */
function comma(text: string, at: number, close: string, start: number): number {
  if (at >= text.length) throw new Stop(at, `${close} is missing, for the ${text[start]} in line ${text.slice(0, start).split("\n").length}`);
  if (text[at] !== ",") throw new Stop(at, `a comma or ${close} is missing`);
  const next = skip(text, at + 1);
  if (text[next] === close) throw new Stop(at, `no comma may stand before ${close}`);
  return next;
}
