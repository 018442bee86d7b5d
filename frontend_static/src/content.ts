/**
 * Mend content items, prompt messages and contents of resources that the SDK refuses. Pure.
 *
 * Each reader returns what to show in place of what a server wrote, and what was wrong with it. Mirrors
 * `mcp_ws_ide/core/content_items.py`.
 */

import { isObject } from "./binding.js";
import { addFault, fits, isAnnotations, isText, mendOptional, type Checks, type Faults } from "./lists.js";

type Members = Record<string, unknown>;

/** What to show in place of an item, and what was wrong with it; empty for nothing. */
export interface Shown {
  readonly shown: unknown[];
  readonly fault: string;
}

/** Longest string without blanks, as binary data are, that the JSON of an item shows. */
const MAX_SHOWN = 1000;
const MEDIA_NAMES = ["mimeType", "mime_type", "mimetype", "mediaType", "media_type", "contentType"];
const DATA_NAMES = ["data", "blob", "base64"];
const UNKNOWN_MEDIA = "application/octet-stream";
/** How the formats begin, in base64. */
const SIGNATURES: readonly (readonly [string, string])[] = [
  ["iVBORw0KGgo", "image/png"],
  ["/9j/", "image/jpeg"],
  ["R0lGOD", "image/gif"],
  ["PHN2Zy", "image/svg+xml"],
  ["Qk0", "image/bmp"],
  ["T2dnUw", "audio/ogg"],
  ["SUQz", "audio/mpeg"],
  ["ZkxhQw", "audio/flac"],
];
const BASE: Checks = { annotations: isAnnotations, _meta: isObject };
const CONTENTS: Checks = { mimeType: isText, _meta: isObject };
const LINK: Checks = { ...BASE, title: isText, description: isText, mimeType: isText, size: Number.isInteger, icons: Array.isArray };

/** Mend the items under `key`; a lone one in place of an array is one item. */
export function mendItems(key: string, members: Members, faults: Faults, read: (item: unknown) => Shown): void {
  const given = members[key];
  if (given === undefined || given === null) {
    members[key] = [];
    return addFault(faults, key, "it was read as an array without items, because there is none");
  }
  if (!Array.isArray(given)) addFault(faults, key, "it was read as the only item, because it is not an array");
  members[key] = (Array.isArray(given) ? given : [given]).flatMap((item, at) => {
    const { shown, fault } = read(item);
    addFault(faults, `item ${at + 1}`, fault);
    return shown;
  });
}

// --- content items ------------------------------------------------------------------------------

/** Read a content item of a result. */
export function readItem(given: unknown): Shown {
  if (isItem(given)) return { shown: [given], fault: "" };
  if (given === null) return { shown: [], fault: "omitted, because it is null" };
  if (typeof given === "string") return { shown: [textItem(given)], fault: "a string was read as a text" };
  if (Array.isArray(given) && given.length > 0 && given.every(isObject)) {
    return { shown: given.flatMap((item) => readItem(item).shown), fault: "an array was read as its items" };
  }
  if (!isObject(given) || Object.keys(given).length === 0) {
    return { shown: [asText(given)], fault: "it is shown as text, because it is not an object with members" };
  }
  const faults: string[] = [];
  const mended = mendedItem(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)), faults);
  if (isItem(mended)) return { shown: [mended], fault: faults.join("; ") || "members that are null were ignored" };
  return { shown: [asText(given)], fault: "it is shown as text, because clients could not read it" };
}

function isItem(item: unknown): boolean {
  if (!isObject(item) || !fits(item, BASE)) return false;
  switch (item["type"]) {
    case "text":
      return isText(item["text"]);
    case "image":
    case "audio":
      return isBase64(item["data"]) && isText(item["mimeType"]);
    case "resource_link":
      return isText(item["uri"]) && isText(item["name"]) && fits(item, LINK);
    case "resource":
      return isContents(item["resource"]);
    default:
      return false;
  }
}

function isContents(value: unknown): boolean {
  return isObject(value) && isText(value["uri"]) && fits(value, CONTENTS) && (isText(value["text"]) || isBase64(value["blob"]));
}

function isBase64(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const text = value.replace(/\s/g, "");
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.replace(/=+$/, "").length % 4 !== 1;
}

function textItem(text: string): Members {
  return { type: "text", text };
}

/** A text with the JSON of an item, of which long binary strings are cut. */
function asText(item: unknown): Members {
  return textItem(JSON.stringify(shortened(item)));
}

function shortened(value: unknown): unknown {
  if (typeof value === "string" && value.length > MAX_SHOWN && !/[ \n]/.test(value)) return `${value.slice(0, 60)}… (${value.length} characters)`;
  if (Array.isArray(value)) return value.map(shortened);
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shortened(item)])) : value;
}

/** An item as the SDK reads it; undefined if it does not mean one thing. */
function mendedItem(item: Members, faults: string[]): Members | undefined {
  const kind = kindOf(item);
  if (kind === "") return undefined;
  if (item["type"] !== kind) {
    item["type"] = kind;
    faults.push(`its type was completed to '${kind}'`);
  }
  const mended = kind === "text" ? mendText(item, faults) : kind === "resource" ? mendEmbedded(item, faults) : kind === "resource_link" ? mendLink(item, faults) : mendMedia(item, faults);
  if (mended !== undefined) faults.push(...mendOptional(mended, mended["type"] === "resource_link" ? LINK : BASE));
  return mended;
}

/** The type of an item: the one that it names, or that its other members show; empty for none. */
function kindOf(item: Members): string {
  const named = typeof item["type"] === "string" ? item["type"].trim().toLowerCase() : "";
  if (["text", "image", "audio", "resource", "resource_link"].includes(named)) return named;
  if (isObject(item["resource"]) || ("uri" in item && ("text" in item || "blob" in item))) return "resource";
  if (isText(item["text"])) return "text";
  if (DATA_NAMES.some((name) => name in item)) {
    const media = (mediaType(item) || encodedData(item).media).split("/")[0] ?? "";
    return media === "image" || media === "audio" ? media : "";
  }
  return "uri" in item && "name" in item ? "resource_link" : "";
}

function mendText(item: Members, faults: string[]): Members | undefined {
  if (isText(item["text"])) return item;
  const isMissing = !("text" in item);
  if (isMissing && Object.keys(item).some((name) => !["type", "annotations", "_meta"].includes(name))) return undefined;
  item["text"] = isMissing ? "" : JSON.stringify(item["text"]);
  faults.push(isMissing ? "its text is missing" : "its text became a string");
  return item;
}

function mendMedia(item: Members, faults: string[]): Members | undefined {
  const { data, media } = encodedData(item);
  if (data === "" || !isBase64(data)) return undefined;
  if (data !== item["data"]) {
    item["data"] = data;
    faults.push("its data were converted to base64");
  }
  if (!isText(item["mimeType"])) {
    item["mimeType"] = mediaType(item) || media || UNKNOWN_MEDIA;
    faults.push("its mimeType was completed");
  }
  return item;
}

function mediaType(item: Members): string {
  const found = MEDIA_NAMES.map((name) => item[name]).find((value) => typeof value === "string" && value !== "");
  return typeof found === "string" ? found : "";
}

/** The data of an image or a sound in base64, and the MIME type that they show; both empty if unknown. */
function encodedData(item: Members): { data: string; media: string } {
  let given = DATA_NAMES.map((name) => item[name]).find((value) => value !== undefined && value !== null && value !== "");
  if (isObject(given)) given = given["data"]; // a buffer, as Node.js writes it
  if (Array.isArray(given)) given = given.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256) ? btoa(String.fromCharCode(...given)) : undefined;
  if (typeof given !== "string") return { data: "", media: "" };
  const url = /^data:([^;,]*)[^,]*;base64,(.*)$/s.exec(given.trim());
  if (url) return { data: url[2] ?? "", media: url[1] || shownMedia(url[2] ?? "") };
  const data = isBase64(given) ? given : given.trim().replace(/-/g, "+").replace(/_/g, "/");
  return { data, media: shownMedia(data) };
}

/** The MIME type of data in base64, by their first bytes. */
function shownMedia(data: string): string {
  const riff = data.startsWith("UklGR") ? data.slice(0, 24) : "";
  if (riff.includes("V0VCUF")) return "image/webp";
  if (riff.includes("XQVZF")) return "audio/wav";
  return SIGNATURES.find(([start]) => data.startsWith(start))?.[1] ?? "";
}

function mendEmbedded(item: Members, faults: string[]): Members | undefined {
  let inner: Members = isObject(item["resource"]) ? { ...item["resource"] } : {};
  if (Object.keys(inner).length === 0) {
    const names = ["uri", "text", "blob", "mimeType"].filter((name) => name in item);
    inner = Object.fromEntries(names.map((name) => [name, item[name]]));
    for (const name of names) delete item[name];
    faults.push("its members were read as those of its resource");
  }
  if ("text" in inner || "blob" in inner) return { ...item, resource: mendedContents(inner, faults) };
  const { resource: _, ...rest } = item; // nothing but the address of what could be read
  faults.push("it was read as a link, because it has no contents");
  return mendLink({ ...rest, ...inner, type: "resource_link" }, faults);
}

function mendLink(item: Members, faults: string[]): Members | undefined {
  if (!isText(item["uri"]) || item["uri"] === "") return undefined;
  if (!isText(item["name"])) {
    item["name"] = item["title"] ?? item["uri"];
    faults.push("it has no name, its title or URI is shown");
  }
  return item;
}

// --- contents of resources ----------------------------------------------------------------------

/** Read an item of `resources/read`. */
export function readContents(given: unknown): Shown {
  if (isContents(given)) return { shown: [given], fault: "" };
  if (given === null) return { shown: [], fault: "omitted, because it is null" };
  const faults: string[] = [];
  let members: Members = isObject(given) ? given : {};
  if (members["type"] === "resource" && "resource" in members) {
    members = isObject(members["resource"]) ? members["resource"] : {};
    faults.push("its resource is shown");
  }
  if (Object.keys(members).length === 0) {
    members = { text: typeof given === "string" ? given : JSON.stringify(given) };
    faults.push("it was read as a text");
  }
  const mended = mendedContents(members, faults);
  return { shown: [mended], fault: faults.join("; ") || "members that are null were ignored" };
}

function mendedContents(members: Members, faults: string[]): Members {
  const rest: Members = Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
  if (!isText(rest["uri"]) || rest["uri"] === "") {
    rest["uri"] = "about:blank";
    faults.push("it has no URI, about:blank is shown");
  }
  const media = mediaType(rest);
  if (media && !isText(rest["mimeType"])) {
    rest["mimeType"] = media;
    faults.push("its mimeType was completed");
  }
  if ("text" in rest || !("blob" in rest)) mendContainedText(rest, faults);
  else mendBlob(rest, faults);
  faults.push(...mendOptional(rest, CONTENTS));
  return rest;
}

function mendContainedText(contents: Members, faults: string[]): void {
  const { text } = contents;
  if (isText(text)) return;
  if (text !== undefined) {
    contents["text"] = JSON.stringify(text);
    faults.push("its text became a string");
    return;
  }
  const shown = Object.entries(contents).filter(([name]) => !["uri", "mimeType", "_meta"].includes(name));
  contents["text"] = shown.length > 0 ? JSON.stringify(Object.fromEntries(shown)) : "";
  faults.push(shown.length > 0 ? "it has no text, its other members are shown" : "it has no text");
}

function mendBlob(contents: Members, faults: string[]): void {
  const { data, media } = encodedData({ blob: contents["blob"] });
  if (isBase64(data) && (data !== "" || contents["blob"] === "")) {
    if (data === contents["blob"]) return;
    contents["blob"] = data;
    faults.push("its blob was converted to base64");
    if (media && !("mimeType" in contents)) contents["mimeType"] = media;
    return;
  }
  const { blob } = contents;
  delete contents["blob"];
  contents["text"] = typeof blob === "string" ? blob : JSON.stringify(blob);
  faults.push("its blob was read as a text, because it is not base64");
}

// --- messages of prompts ------------------------------------------------------------------------

/** Read a message of a prompt. It has one content item: one with several becomes several messages. */
export function readPromptMessage(given: unknown): Shown {
  const isRole = (value: unknown): boolean => value === "user" || value === "assistant";
  if (isObject(given) && isRole(given["role"]) && isItem(given["content"])) return { shown: [given], fault: "" };
  if (given === null) return { shown: [], fault: "omitted, because it is null" };
  const members: Members = isObject(given) ? given : {};
  const faults: string[] = [];
  const role = isRole(members["role"]) ? members["role"] : "user";
  if (role !== members["role"]) faults.push("its role was read as user");
  const content = "content" in members ? members["content"] : given;
  if (!("content" in members)) faults.push("it has no content, it is shown itself");
  const items = (Array.isArray(content) ? content : [content]).map(readItem);
  for (const { fault } of items) if (fault && !faults.includes(fault)) faults.push(fault);
  if (Array.isArray(content)) faults.push("each item of its content became a message");
  const rest = "content" in members ? Object.fromEntries(Object.entries(members).filter(([name]) => name !== "role" && name !== "content")) : {};
  return { shown: items.flatMap(({ shown }) => shown.map((item) => ({ ...rest, role, content: item }))), fault: faults.join("; ") };
}
