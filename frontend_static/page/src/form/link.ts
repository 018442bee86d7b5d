/** Arguments that a link brings into a form. Knows nothing of the form. */

import { useLayoutEffect, useState } from "preact/hooks";
import { go, route } from "../route.js";

/**
 * Take the arguments of a link once, and remove them from the route: there they would overwrite what was typed since at
 * every reload and every step back.
 *
 * @param ready whether the form exists that takes them.
 * @returns how many links were taken so far.
 */
export function useLink(given: string | undefined, ready: boolean, take: (given: string) => void): number {
  const [taken, setTaken] = useState(0);
  useLayoutEffect(() => {
    if (given === undefined || !ready) return;
    take(given);
    setTaken(taken + 1);
    const { parts, query } = route.peek();
    const { args, ...others } = query;
    go(parts, others, true);
  }, [given, ready]);
  return taken;
}
