/**
 * Compiles examples/frameworks, after `npm ci` there. Its programs import this package by its name, so its node_modules
 * gets a link to the root: the package is not published to itself.
 */
import { execFileSync } from 'node:child_process'
import { rmSync, symlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const link = path('examples/frameworks/node_modules/millrace')

rmSync(link, { recursive: true, force: true })
symlinkSync(path(''), link, 'dir')
for (const project of ['examples/frameworks/tsconfig.build.json', 'examples/frameworks'])
  execFileSync(process.execPath, [path('node_modules/typescript/bin/tsc'), '-p', path(project)], { stdio: 'inherit' })
