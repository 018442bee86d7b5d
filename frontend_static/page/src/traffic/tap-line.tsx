/** The state of the live feed: a dot and a text. */

import { useEffect, useState } from "preact/hooks";
import { Banner } from "../ui/parts.js";
import { tap } from "./held.js";

export function TapLine({ paused }: { paused: boolean }) {
  const state = tap.state.value;
  const [, tick] = useState(0);
  useEffect(() => {
    if (state.kind !== "waiting") return;
    const timer = setInterval(() => tick(Date.now()), 500);
    return () => clearInterval(timer);
  }, [state]);
  if (state.kind === "refused") return <Banner kind="bad">The gateway does not show its traffic: {state.reason}</Banner>;
  return (
    <span class="state" data-tap={state.kind}>
      <span class={`dot ${state.kind === "live" && !paused ? "good" : "warn"}`} aria-hidden="true" />
      {state.kind === "live" && (paused ? "paused" : "live")}
      {(state.kind === "connecting" || state.kind === "off") && "connecting …"}
      {state.kind === "waiting" && (
        <>
          {state.reason}; reconnecting in {Math.max(0, Math.ceil((state.at - Date.now()) / 1000))} s{" "}
          <button type="button" onClick={() => tap.retry()}>
            Reconnect now
          </button>
        </>
      )}
    </span>
  );
}
