/** The page's lifecycle and network events. Without a page (Node), there are none. */

/** What the events mean to a session. */
export interface PageEvents {
  /** The page or its network is back: reconnecting may work now. */
  wake(): void;
  /** The network may be gone. */
  doubt(): void;
  /** The page ends and will not be shown again. */
  leave(): void;
}

type Handler = (event: Event) => void;

/**
 * Listen until the returned function is called.
 *
 * `online` and `offline` are only hints: a gateway on the same machine needs no network.
 */
export function watchPage(events: PageEvents): () => void {
  const scope = globalThis as Partial<Pick<Window, "addEventListener" | "removeEventListener">>;
  const page = globalThis.document as Document | undefined;
  const ofScope: Record<string, Handler> = {
    online: () => events.wake(),
    offline: () => events.doubt(),
    pageshow: (event) => (event as PageTransitionEvent).persisted && events.wake(),
    pagehide: (event) => (event as PageTransitionEvent).persisted || events.leave(),
  };
  const ofPage: Record<string, Handler> = {
    resume: () => events.wake(),
    visibilitychange: () => page?.visibilityState === "visible" && events.wake(),
  };
  for (const [type, handler] of Object.entries(ofScope)) scope.addEventListener?.(type, handler);
  for (const [type, handler] of Object.entries(ofPage)) page?.addEventListener(type, handler);
  return () => {
    for (const [type, handler] of Object.entries(ofScope)) scope.removeEventListener?.(type, handler);
    for (const [type, handler] of Object.entries(ofPage)) page?.removeEventListener(type, handler);
  };
}
