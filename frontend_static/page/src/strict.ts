/**
 * zod, which the MCP client checks messages with, must not try whether it may make functions of texts: the page's policy
 * forbids that, and the browser reports each attempt.
 */

/** To be called before zod is loaded. */
export function forbidCompiling(): void {
  const scope = globalThis as { __zod_globalConfig?: { jitless?: boolean } };
  scope.__zod_globalConfig = { ...scope.__zod_globalConfig, jitless: true };
}
