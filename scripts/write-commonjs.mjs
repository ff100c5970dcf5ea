/**
 * Writes entries for CommonJS beside those for ES modules: `index.cjs`, which requires the same module, and
 * `index.d.cts`, which makes a compiler treat it as CommonJS. The module exists once, whether it is imported or
 * required, and so do its types.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const ESM = `'./index.js', { with: { 'resolution-mode': 'import' } }`

/** A class is also a type. */
const isClass = (value) => typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))

for (const entry of Object.values(exports)) {
  if (typeof entry === 'string') continue
  const file = join(root, entry.import.default)
  const module = await import(pathToFileURL(file).href)
  const values = Object.entries(module).flatMap(([name, value]) => {
    const alias = isClass(value) ? [`export type ${name} = import(${ESM}).${name}`] : []
    return [`export declare const ${name}: typeof import(${ESM}).${name}`, ...alias]
  })
  const types = `export type * from './index.js' with { 'resolution-mode': 'import' }`
  writeFileSync(join(dirname(file), 'index.d.cts'), `${[types, ...values].join('\n')}\n`)
  writeFileSync(join(dirname(file), 'index.cjs'), `'use strict'\nmodule.exports = require('./index.js')\n`)
}
