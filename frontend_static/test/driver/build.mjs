// Bundles the driver for a page.
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
