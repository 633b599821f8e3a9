// Bundles src/ into dist/, byte for byte the same wherever it runs: no time, no path, no hash of a run is in what it writes.
//
//   node scripts/build.mjs [FOLDER]      FOLDER: dist beside this, unless another is named

import { build } from 'esbuild'
import { readFileSync, writeFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fingerprint } from './sources.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const into = process.argv[2] ?? join(root, 'dist')
mkdirSync(into, { recursive: true })
// .gitkeep stays: the folder is in the repository, what is in it is not.
for (const name of readdirSync(into)) if (!name.startsWith('.')) rmSync(join(into, name), { recursive: true })
rmSync(join(into, '.sources'), { force: true })

await build({
  absWorkingDir: root,
  entryPoints: { app: 'src/main.tsx' },
  outdir: into,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome111', 'firefox115', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  charset: 'utf8',
  logLevel: 'warning',
})
for (const name of ['index.html', 'icon.svg']) writeFileSync(join(into, name), readFileSync(join(root, 'src', name)))

// What is passed on with the binary says whose it is.
const named = [
  'preact',
  'd3-array',
  'd3-scale',
  'd3-shape',
  'd3-path',
  'd3-color',
  'd3-format',
  'd3-interpolate',
  'd3-time',
  'd3-time-format',
  'internmap',
  'yaml',
]
const licences = named.map((name) => {
  const folder = join(root, 'node_modules', name)
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const text = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))
  return `${name} ${version} (${license})\n\n${text ? readFileSync(join(folder, text), 'utf8').trim() : ''}\n`
})
writeFileSync(join(into, 'licences.txt'), licences.join(`\n${'-'.repeat(80)}\n\n`))
// Last, when all of it is there: of which sources it was made, by which `cargo build` sees that it is old.
writeFileSync(join(into, '.sources'), `${fingerprint(root)}\n`)
