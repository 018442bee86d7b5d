/** The state of a connection: a dot and a text. */

import { useEffect, useState } from "preact/hooks";
import { closing } from "../mcp/closing.js";
import type { Connection, LinkState } from "../mcp/connection.js";

const COLOURS = { idle: "", connecting: "warn", connected: "good", reconnecting: "warn", closed: "bad" } as const;

/** The state in one word; a link that may be dead counts as `doubted`, not as connected. */
export function kindOf(state: LinkState): string {
  return state.kind === "connected" && state.doubted ? "doubted" : state.kind;
}

export function Dot({ state }: { state: LinkState }) {
  const kind = kindOf(state);
  const colour = kind === "doubted" ? "warn" : state.kind === "closed" && state.wanted ? "" : COLOURS[state.kind];
  return <span class={`dot ${colour}`} aria-hidden="true" />;
}

/** Always visible, and never says connected of a link in doubt. */
export function StateLine({ connection }: { connection: Connection }) {
  const state = connection.state.value;
  return (
    <span class="state" data-state={kindOf(state)}>
      <Dot state={state} /> <StateText state={state} />
    </span>
  );
}

function StateText({ state }: { state: LinkState }) {
  switch (state.kind) {
    case "idle":
      return <>not connected</>;
    case "connecting":
      return <>{state.step} …</>;
    case "connected":
      return <>{state.doubted ? "checking the connection …" : "connected"}</>;
    case "reconnecting":
      return <Countdown key={state.attempt} state={state} />;
    case "closed":
      return <>{closing(state.code, state.reason)}</>;
  }
}

function Countdown({ state }: { state: LinkState & { kind: "reconnecting" } }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.ceil((state.at - now) / 1000));
  return (
    <>
      reconnecting, attempt {state.attempt}
      {seconds > 0 ? ` in ${seconds} s` : " now"}
    </>
  );
}
