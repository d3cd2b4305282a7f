// Builds a plugin in JavaScript or TypeScript into a component. `tidegate plugin build` runs it:
//
//     node sdk/build.mjs --entry plugin.js --roles validator,router --wit DIR --world NAME --out build/NAME.wasm
//
// TypeScript is checked first where there is a tsconfig.json. The tools are looked for as packages of the plugin, from the
// working folder upwards.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const ROLES = ["validator", "migrator", "router", "transformer"];
// Without these the engine asks the host for nothing: no clock, no randomness, no network, no output.
const FEATURES = ["stdio", "random", "clocks", "http", "fetch-event"];
// What an operator grants, by its interface: plugin.yaml names it under `uses`.
const GRANTS = { http: "http", environment: "env", clock: "clock", random: "random" };

const sdk = join(dirname(fileURLToPath(import.meta.url)), "tidegate-plugin");
const { values } = parseArgs({
  options: {
    entry: { type: "string" },
    roles: { type: "string" },
    wit: { type: "string" },
    world: { type: "string" },
    out: { type: "string" },
  },
});
for (const name of ["entry", "roles", "wit", "world", "out"]) {
  if (!values[name]) {
    fail(`--${name} is missing`);
  }
}
const roles = values.roles.split(",");
for (const role of roles) {
  if (!ROLES.includes(role)) {
    fail(`there is no role ${role}, only ${ROLES.join(", ")}`);
  }
}

if (values.entry.endsWith(".ts") && existsSync("tsconfig.json")) {
  const tsc = join(find("typescript"), "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc, "--project", "tsconfig.json"], { stdio: "inherit" });
  if (status !== 0) {
    process.exit(1);
  }
}
const esbuild = await load("esbuild");
const { componentize } = await load("@bytecodealliance/componentize-js");

const out = resolve(values.out);
const bundle = `${out}.js`;
await mkdir(dirname(out), { recursive: true });
const names = ["plugin", "documents", ...roles];
const main = [
  `import definition from ${JSON.stringify(resolve(values.entry))};`,
  `import { componentOf } from ${JSON.stringify(join(sdk, "component.ts"))};`,
  `const component = componentOf(definition);`,
  ...names.map((name) => `export const ${name} = component.${name};`),
];
let built;
try {
  built = await esbuild.build({
    stdin: { contents: main.join("\n"), resolveDir: process.cwd(), sourcefile: "component.js" },
    alias: { "tidegate-plugin": join(sdk, "index.ts") },
    plugins: [{ name: "host", setup: leaveToTheHost }],
    define: { UNSEEN_CHARACTERS: JSON.stringify(unseenCharacters()) },
    bundle: true,
    format: "esm",
    target: "es2024",
    charset: "utf8",
    outfile: bundle,
    metafile: true,
    logLevel: "warning",
  });
} catch {
  // esbuild has said what is wrong, with file and line.
  process.exit(1);
}
try {
  await checkImports(built.metafile);
  const { component } = await componentize({
    sourcePath: bundle,
    witPath: resolve(values.wit),
    worldName: values.world,
    disableFeatures: FEATURES,
  });
  await writeFile(out, component);
} catch (error) {
  // Its message holds what the engine said of the plugin's own code; the stack would be that of the tool.
  fail(error.message);
} finally {
  await rm(bundle, { force: true });
}

/**
 * What the host gives is imported by the component. It has no effects of its own, so esbuild leaves out what the plugin does not call.
 */
function leaveToTheHost(build) {
  build.onResolve({ filter: /^tidegate:/ }, ({ path }) => ({ path, external: true, sideEffects: false }));
}

/** What the bundle imports must be in the world, which has what plugin.yaml says; the tool's own message would name neither. */
async function checkImports({ outputs }) {
  const world = await readFile(join(values.wit, `${values.world}.wit`), "utf8");
  const imports = Object.values(outputs).flatMap((output) => output.imports.map(({ path }) => path.split("@")[0]));
  const grants = Object.keys(GRANTS).filter((name) => world.includes(`import ${name};`) || imports.includes(`tidegate:plugin/${name}`));
  const unsaid = grants.filter((name) => !world.includes(`import ${name};`));
  if (unsaid.length > 0) {
    throw new Error(
      `the plugin imports ${unsaid.map((name) => `\`tidegate:plugin/${name}\``).join(" and ")}, but \`plugin.yaml\` does not say so; ` +
        `write \`uses: [${grants.map((name) => GRANTS[name]).join(", ")}]\`, so that who runs it knows what to grant`,
    );
  }
}

/** Where a package of the plugin's lies. */
function find(name) {
  const folders = createRequire(join(process.cwd(), "package.json")).resolve.paths(name);
  const folder = folders.map((it) => join(it, name)).find((it) => existsSync(join(it, "package.json")));
  if (folder === undefined) {
    fail(`the package ${name} is not installed: run \`npm install\` in ${process.cwd()}`);
  }
  return folder;
}

/** A package of the plugin's: not all can be found by `require.resolve`, nor by `import` from this file. */
async function load(name) {
  const folder = find(name);
  const { exports, main } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  return import(pathToFileURL(join(folder, exports?.import ?? main)).href);
}

/**
 * What is shown as an escape in messages, as ranges of a regular expression: the engine inside the component does not
 * know the classes of characters.
 */
function unseenCharacters() {
  const unseen = /[\p{C}\p{Z}\p{Grapheme_Extend}]/u;
  const ranges = [];
  let first = -1;
  for (let code = 0; code <= 0x110000; code++) {
    const is = code !== 0x20 && code < 0x110000 && unseen.test(String.fromCodePoint(code));
    if (is && first < 0) {
      first = code;
    } else if (!is && first >= 0) {
      ranges.push(`\\u{${first.toString(16)}}-\\u{${(code - 1).toString(16)}}`);
      first = -1;
    }
  }
  return ranges.join("");
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
