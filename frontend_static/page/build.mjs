// Bundles the page into mcp_ws_ide/static/. File names contain a hash of the content, and page.json names the files to load,
// so that files of two versions are never mixed. Each file is also compressed. `--watch` rebuilds when a source changes.
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import { context } from "esbuild";
import { licences } from "./licences.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const LICENCES = "third-party-licenses.json";
const out = fileURLToPath(new URL("../../mcp_ws_ide/static/", import.meta.url));

/** Compress each file as `.br`, for browsers on HTTPS or this machine, and as `.gz` for all others. */
async function pack(names) {
  const forms = { br: promisify(brotliCompress), gz: (data) => promisify(gzip)(data, { level: 9 }) };
  const packing = names.flatMap((name) =>
    Object.entries(forms).map(async ([suffix, compress]) => {
      await writeFile(join(out, `${name}.${suffix}`), await compress(await readFile(join(out, name))));
      return `${name}.${suffix}`;
    }),
  );
  return Promise.all(packing);
}

/** Writes page.json once all files that it names exist, then removes the files of earlier builds. */
const manifest = {
  name: "manifest",
  setup(build) {
    build.onEnd(async ({ metafile, errors }) => {
      if (errors.length > 0) return;
      const made = Object.keys(metafile.outputs).map((path) => basename(path));
      const [entry] = Object.values(metafile.outputs).filter(({ entryPoint }) => entryPoint?.endsWith("main.tsx"));
      const script = made.find((name) => name.startsWith("page-") && name.endsWith(".js"));
      const checker = made.find((name) => name.startsWith("checker-") && name.endsWith(".js"));
      const text = JSON.stringify({ script, style: basename(entry.cssBundle), checker });
      made.push(...(await pack(made)));
      await writeFile(join(out, LICENCES), await licences(metafile, here));
      await writeFile(join(out, "page.json.new"), `${text}\n`);
      await rename(join(out, "page.json.new"), join(out, "page.json"));
      const kept = new Set([...made, "page.json", LICENCES]);
      for (const name of await readdir(out)) if (!kept.has(name)) await rm(join(out, name), { recursive: true });
    });
  },
};

await mkdir(out, { recursive: true });
const building = await context({
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx", checker: "src/form/worker.ts" },
  outdir: out,
  bundle: true,
  splitting: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  conditions: ["browser"],
  alias: { "@modelcontextprotocol/client/_shims": join(here, "src/mcp/shims.ts") },
  entryNames: "[name]-[hash]",
  chunkNames: "part-[hash]",
  assetNames: "[name]-[hash]",
  legalComments: "linked",
  logLevel: "warning",
  plugins: [manifest],
});
if (process.argv.includes("--watch")) await building.watch();
else {
  await building.rebuild();
  await building.dispose();
}
