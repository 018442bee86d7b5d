/** What a link brings into a form; knows no form. */

import { useLayoutEffect, useState } from "preact/hooks";
import { go, route } from "../route.js";

/**
 * Have what a link brought taken once, and take it out of the address: there it would come again with each reload and each
 * way back, over what was typed since.
 *
 * @param ready whether there is something yet to take it.
 * @returns how many links were taken.
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
