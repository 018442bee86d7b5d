/** Saving rows as a recording that `mcp-ws-inspect open` reads. */

import { announce } from "../announce.js";
import { saveFile } from "../save.js";
import { tap } from "./held.js";
import { lineOf, type Row } from "./row.js";

export function exportRows(shown: readonly Row[]): void {
  const lines = [JSON.stringify(headerOf(shown)), ...shown.map(lineOf)];
  const moment = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
  saveFile(`mcp-traffic-${moment}.jsonl`, new Blob(lines.map((line) => `${line}\n`)), "application/x-ndjson");
  announce(`${shown.length} messages exported`);
}

function headerOf(shown: readonly Row[]): Record<string, unknown> {
  const page = new URL(".", location.href.split("#")[0]);
  return {
    format: "mcp-ws-recording",
    version: 1,
    time: shown[0]?.record.time ?? Date.now() / 1000,
    gateway: page.href.replace(/mcp-ws\/$/, ""),
    instance: tap.instance || null,
    program: "mcp-ws-ide page",
  };
}
