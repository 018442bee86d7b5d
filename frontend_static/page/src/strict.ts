/**
 * Keeps zod, which validates messages in the MCP client, from testing whether it may compile functions from text: the
 * page's Content Security Policy forbids that, and the browser reports each attempt.
 */

/** Call this before zod is loaded. */
export function forbidCompiling(): void {
  const scope = globalThis as { __zod_globalConfig?: { jitless?: boolean } };
  scope.__zod_globalConfig = { ...scope.__zod_globalConfig, jitless: true };
}
