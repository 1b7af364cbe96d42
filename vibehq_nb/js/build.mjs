/** Bundles the views into `vibehq_nb/static/`, which is git-ignored and shipped. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = process.env.VIBEHQ_STATIC ?? join(here, "..", "static");

await mkdir(outdir, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: { vibehq: "src/index.ts", dashboard: "src/page.ts" },
  outdir,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  loader: { ".css": "text" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

/** What JupyterLab itself loads; installed as share/jupyter/labextensions/vibehq-nb. */
const { name, version, license } = JSON.parse(
  await readFile(join(here, "package.json"), "utf8"),
);
const labdir = join(outdir, "labextension");
await build({
  absWorkingDir: here,
  entryPoints: { remoteEntry: "src/lab-entry.ts" },
  outdir: join(labdir, "static"),
  bundle: true,
  format: "iife",
  target: "es2022",
  minify: true,
  logLevel: "warning",
});
const labPackage = {
  name: "vibehq-nb",
  version,
  license,
  description: `The part of ${name} that JupyterLab loads`,
  jupyterlab: {
    extension: true,
    _build: { load: "static/remoteEntry.js", extension: "./extension" },
  },
};
await writeFile(
  join(labdir, "package.json"),
  `${JSON.stringify(labPackage, null, 2)}\n`,
);

/** The licences of what is bundled travel with it. */
const { dependencies } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
const notices = [];
for (const name of [...Object.keys(dependencies), "event-target-polyfill"]) {
  for (const file of ["LICENSE", "LICENSE.txt"]) {
    try {
      const text = await readFile(join(here, "node_modules", name, file), "utf8");
      notices.push(`${name}\n\n${text.trim()}\n`);
      break;
    } catch {
      // This package names its licence file otherwise.
    }
  }
}
await writeFile(join(outdir, "THIRD-PARTY.txt"), notices.join("\n----\n\n"));

for (const [path, output] of Object.entries(result.metafile.outputs)) {
  console.log(`${path} ${Math.round(output.bytes / 1024)} KiB`);
}
