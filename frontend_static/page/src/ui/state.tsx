/** How a connection is, in a dot and words. */

import { useEffect, useState } from "preact/hooks";
import type { Connection, LinkState } from "../mcp/connection.js";

const COLOURS = { idle: "", connecting: "warn", connected: "good", reconnecting: "warn", closed: "bad" } as const;

/** The kind of a state in a word, where a link in doubt is not called connected. */
export function kindOf(state: LinkState): string {
  return state.kind === "connected" && state.doubted ? "doubted" : state.kind;
}

export function Dot({ state }: { state: LinkState }) {
  const kind = kindOf(state);
  const colour = kind === "doubted" ? "warn" : state.kind === "closed" && state.wanted ? "" : COLOURS[state.kind];
  return <span class={`dot ${colour}`} aria-hidden="true" />;
}

/** Always visible, and always true. */
export function StateLine({ connection }: { connection: Connection }) {
  const state = connection.state.value;
  return (
    <span class="state" data-state={kindOf(state)}>
      <Dot state={state} /> <Words state={state} />
    </span>
  );
}

function Words({ state }: { state: LinkState }) {
  switch (state.kind) {
    case "idle":
      return <>not connected</>;
    case "connecting":
      return <>{state.words} …</>;
    case "connected":
      return <>{state.doubted ? "asking the gateway whether it is there …" : "connected"}</>;
    case "reconnecting":
      return <Countdown key={state.attempt} state={state} />;
    case "closed":
      return (
        <>
          closed ({state.code}
          {CLOSE_WORDS[state.code] ? `, ${CLOSE_WORDS[state.code]}` : ""})
        </>
      );
  }
}

/** Those of docs/binding.md, section 9, and what a browser says by itself. */
const CLOSE_WORDS: Record<number, string> = {
  1000: "normally",
  1001: "the gateway went away",
  1002: "a frame that broke the protocol",
  1003: "a frame that is no text",
  1006: "no connection",
  1007: "a frame that is no UTF-8",
  1008: "against a rule",
  1009: "a message that is too large",
  1011: "a failure of the gateway",
  1012: "the gateway restarts",
  1013: "the gateway is full",
  4400: "no first frame",
  4401: "the credential has expired",
  4403: "the credential was revoked",
  4404: "the session is gone",
  4409: "taken over elsewhere",
  4413: "too much was queued",
  4502: "the server ended",
};

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
