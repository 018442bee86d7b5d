// Bundles the driver for a page, and the parts of the page that the unit tests import.
import { build } from "esbuild";

await build({
  entryPoints: [new URL("page.mjs", import.meta.url).pathname],
  outfile: new URL("../../build/driver.js", import.meta.url).pathname,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  conditions: ["browser"],
  logLevel: "warning",
});

// Parts of the page that do not need a browser, for the unit tests.
const page = new URL("../../page/src/", import.meta.url).pathname;
await build({
  entryPoints: [`${page}apps/host.ts`, `${page}apps/resource.ts`, `${page}form/dates.ts`, `${page}form/json-place.ts`, `${page}form/recent.ts`, `${page}form/schema.ts`, `${page}form/check.ts`, `${page}mcp/closing.ts`, `${page}mcp/lists.ts`, `${page}mcp/pages.ts`, `${page}mcp/tasks.ts`, `${page}mcp/wire.ts`, `${page}polled.ts`, `${page}results/python.ts`, `${page}results/shape.ts`, `${page}route.ts`, `${page}traffic/filter.ts`, `${page}traffic/row.ts`, `${page}traffic/rows.ts`],
  outdir: new URL("../../build/page", import.meta.url).pathname,
  outbase: page,
  bundle: true,
  packages: "external",
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
