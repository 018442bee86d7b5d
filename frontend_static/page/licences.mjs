// The license notices of all third-party code in the page, in the format of JupyterLab's builder. The bundler's metafile lists
// the packages; some contain code of further packages, between comments that name their source.
import { readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("../node_modules/", import.meta.url));
const NAME = String.raw`node_modules\/((?:@[^/\s]+\/)?[^@./\s][^/\s]*)\/`;
const IN_PATH = new RegExp(`.*${NAME}`);
const IN_COMMENT = new RegExp(String.raw`^//#region \S*${NAME}`, "gm");
const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT
HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING
FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;

/** The text of the file. `here` is the base of the metafile's paths. Throws where a package has no notice. */
export async function licences(metafile, here) {
  const packages = await Promise.all([...(await bundled(metafile, here))].sort().map(notice));
  return `${JSON.stringify({ packages }, null, 1)}\n`;
}

async function bundled(metafile, here) {
  const names = new Set();
  for (const { inputs } of Object.values(metafile.outputs))
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const name = IN_PATH.exec(path)?.[1];
      if (name === undefined || bytesInOutput === 0) continue;
      names.add(name);
      for (const [, inner] of (await readFile(resolve(here, path), "utf8")).matchAll(IN_COMMENT)) names.add(inner);
    }
  return names;
}

async function notice(name) {
  const folder = join(modules, name);
  const { version, license, author } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|copying|notice)(\.|-|$)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  if (texts.length === 0) texts.push(stated(name, license, author));
  return { name, versionInfo: version, licenseId: license, extractedText: texts.join("\n\n") };
}

/** For a package without a license file: what its package.json states. */
function stated(name, license, author) {
  if (license !== "MIT" || !author) throw new Error(`${name} (${license}) comes without a notice: add it to licences.mjs`);
  const who = typeof author === "string" ? author : author.name;
  return `${name} comes without a file of its licence; its package.json says: license MIT, author ${who}.\n\n${MIT}`;
}
