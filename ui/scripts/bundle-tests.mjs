// Tests are TypeScript too: bundles each into test-dist/, for node's own runner. Packages stay where they are.

import { build } from 'esbuild'
import { readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
rmSync(join(root, 'test-dist'), { recursive: true, force: true })
const entries = readdirSync(join(root, 'tests')).filter((name) => /\.test\.ts$|^screenshots\.ts$/.test(name))
await build({
  absWorkingDir: root,
  entryPoints: entries.map((name) => join('tests', name)),
  outdir: 'test-dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node18',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
})
