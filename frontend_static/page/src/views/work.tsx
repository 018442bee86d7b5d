/** What the user fills in, with the results beside it in wide windows and below it in others. */

import type { ComponentChildren } from "preact";
import type { CallKind } from "../mcp/call.js";
import type { Connection } from "../mcp/connection.js";
import { Calls } from "./calls.js";

export function Work({ connection, kind, name, children }: { connection: Connection; kind: CallKind; name: string; children: ComponentChildren }) {
  const called = connection.calls.all.value.some((call) => call.kind === kind && call.name === name && !call.byApp);
  return (
    <div class="work">
      <div class="work-input">{children}</div>
      {called ? <Calls connection={connection} only={{ kind, name }} /> : <p class="empty results-here">Results appear here.</p>}
    </div>
  );
}
