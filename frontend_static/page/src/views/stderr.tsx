/** The newest lines of a server's stderr. */

import { useEffect, useRef, useState } from "preact/hooks";
import { rest } from "../api.js";
import { clock } from "../format.js";

export interface StderrPage {
  readonly lines: readonly { readonly seq: number; readonly time: number; readonly pid: number | null; readonly text: string }[];
  readonly next: number;
  readonly missed: number;
}

/** Milliseconds between two requests. */
const POLL_INTERVAL = 1_000;
const MAX_LINES = 1_000;
/** Pixels from the end within which new lines scroll into view. */
const NEAR_END = 80;

/** @param led whether a link led here, so that it is scrolled to and gets the focus. */
export function Stderr({ name, led = false }: { name: string; led?: boolean }) {
  const { lines, missed } = useStderr(name);
  const box = useRef<HTMLPreElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const seen = useRef(false);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    if (!seen.current || element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END) element.scrollTop = element.scrollHeight;
    if (!seen.current && led) {
      heading.current?.scrollIntoView();
      element.focus({ preventScroll: true });
    }
    seen.current = true;
  }, [lines]);
  return (
    <>
      <h3 ref={heading}>stderr</h3>
      {missed > 0 && <p class="muted">{missed.toLocaleString()} earlier lines were not kept.</p>}
      {lines.length === 0 ? (
        <p class="muted">The server has written nothing to stderr.</p>
      ) : (
        <pre class="stderr" ref={box} tabIndex={0} aria-label={`stderr of ${name}`}>
          {lines.map((line) => (
            <span key={line.seq} class="line">
              <span class="muted">
                {clock(line.time)} {line.pid ?? ""}
              </span>{" "}
              {line.text}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </>
  );
}

/** Follow stderr while the page is visible. Failures are not shown here: the view shows that the gateway does not answer. */
function useStderr(name: string): { lines: StderrPage["lines"]; missed: number } {
  const [lines, setLines] = useState<StderrPage["lines"]>([]);
  const [missed, setMissed] = useState(0);
  useEffect(() => {
    let after = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = new AbortController();
    const poll = async (): Promise<void> => {
      const page = await rest<StderrPage>(`servers/${encodeURIComponent(name)}/stderr?after=${after}`, { signal: stop.signal }).catch(() => undefined);
      if (page !== undefined) {
        const restarted = page.next < after;
        after = page.next;
        if (page.lines.length > 0) setLines((old) => [...(restarted ? [] : old), ...page.lines].slice(-MAX_LINES));
        if (page.missed > 0) setMissed((old) => old + page.missed);
      }
      if (!stop.signal.aborted) timer = setTimeout(whenVisible, POLL_INTERVAL);
    };
    const whenVisible = (): void => {
      if (document.hidden) document.addEventListener("visibilitychange", () => void poll(), { once: true, signal: stop.signal });
      else void poll();
    };
    void poll();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [name]);
  return { lines, missed };
}
