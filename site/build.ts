/**
 * Builds the documentation site into site/dist: `npm run docs:site`.
 *
 * The pages are those of docs/, as they are; the start page is made from the README. TypeDoc writes the API reference
 * as Markdown from the docstrings. VitePress checks every link between the pages, and builds the search index.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SITE = dirname(fileURLToPath(import.meta.url))
const ROOT = dirname(SITE)
const PAGES = join(SITE, '.pages')
const require = createRequire(import.meta.url)

rmSync(PAGES, { recursive: true, force: true })
mkdirSync(join(PAGES, 'public'), { recursive: true })
cpSync(join(ROOT, 'docs'), PAGES, { recursive: true, filter: (path) => path !== join(ROOT, 'docs', 'api') })
cpSync(join(ROOT, 'docs', 'images'), join(PAGES, 'public', 'images'), { recursive: true })
for (const name of ['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE']) {
  writeFileSync(
    join(PAGES, name === 'LICENSE' ? 'LICENSE.md' : name),
    besideThePages(readFileSync(join(ROOT, name), 'utf8')),
  )
}
const head = readFileSync(join(SITE, 'start.md'), 'utf8')
writeFileSync(
  join(PAGES, 'index.md'),
  `${head}\n${besideThePages(afterTitle(readFileSync(join(ROOT, 'README.md'), 'utf8')))}`,
)

run('typedoc', 'bin/typedoc', [
  ...['--options', join(ROOT, 'typedoc.json'), '--tsconfig', join(ROOT, 'tsconfig.build.json')],
  ...['--plugin', 'typedoc-plugin-markdown', '--out', join(PAGES, 'api'), '--readme', 'none', '--disableSources'],
  ...['--treatWarningsAsErrors', '--hideBreadcrumbs', '--hidePageHeader', '--entryFileName', 'index.md'],
])
run('vitepress', 'bin/vitepress.js', ['build', SITE])

/** Runs the program of a package of the site. */
function run(name: string, program: string, options: readonly string[]): void {
  const folder = dirname(require.resolve(`${name}/package.json`))
  execFileSync(process.execPath, [join(folder, program), ...options], { cwd: SITE, stdio: 'inherit' })
}

/** Links into docs/ become links between pages of the site; the folder of decisions becomes its list. */
function besideThePages(text: string): string {
  return text
    .replaceAll('](docs/decisions)', '](decisions/0001-record-decisions.md)')
    .replaceAll('](docs/', '](')
    .replaceAll('="docs/', '="./')
}

/** The README below its title and its first paragraph, which the start page says itself. */
function afterTitle(readme: string): string {
  return readme.slice(readme.indexOf('\n## '))
}
