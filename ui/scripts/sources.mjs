// A fingerprint of all that dist/ is made of: beside what was made it says of which sources that was. controller/build/sources.rs computes the same.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** What it is made of, beside every file of src/. */
const BESIDE = ['package-lock.json', 'package.json', 'scripts/build.mjs', 'tsconfig.json']

/** FNV-1a, 64 bits, of each path and what is in it, in the order of paths. */
export function fingerprint(root) {
  const within = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? within(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`],
    )
  const paths = [...within('src'), ...BESIDE.filter((path) => existsSync(join(root, path)))].sort()
  let hash = 0xcbf29ce484222325n
  const take = (bytes) => {
    for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
  }
  for (const path of paths) {
    take(Buffer.from(`${path}\0`))
    take(readFileSync(join(root, path)))
    take([0])
  }
  return hash.toString(16).padStart(16, '0')
}
