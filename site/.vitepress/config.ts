/** The site: its pages, their order in the sidebar, and the search in the browser. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const pages = fileURLToPath(new URL('../.pages/', import.meta.url))

interface Item {
  readonly text: string
  readonly link: string
}

/** A page, named by its first heading. */
function page(path: string): Item {
  const text = /^# (.+)$/m.exec(readFileSync(`${pages}${path}.md`, 'utf8'))?.[1] ?? path
  return { text: text.replaceAll('`', ''), link: `/${path}` }
}

/** The pages of a folder: first the named ones in this order, then the rest by name. */
function folder(name: string, first: readonly string[] = []): Item[] {
  const found = readdirSync(`${pages}${name}`)
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.slice(0, -'.md'.length))
  const rest = found.filter((each) => !first.includes(each)).sort()
  return [...first, ...rest].map((each) => page(`${name}/${each}`))
}

/** The order of reading; pages that are not named here come after. */
const GUIDE = [
  'first-event',
  'streams-or-queues',
  'order-and-parallelism',
  'limits-and-fairness',
  'retries-and-dead-letters',
  'changing-a-schema',
  'testing',
  'rules',
  'http',
  'webhooks',
  'logging-and-middleware',
  'console',
  'why',
  'catalogue',
  'operating',
  'monitoring',
  'tracing',
  'when-things-break',
  'backup-and-restore',
  'secure-it',
]
const REFERENCE = ['contract', 'glossary', 'patterns', 'cesql', 'errors', 'limits', 'protocol', 'format', 'formats']

export default defineConfig({
  title: 'Millrace',
  description: 'Event-driven architecture for TypeScript in one package',
  srcDir: '.pages',
  outDir: 'dist',
  cleanUrls: true,
  lastUpdated: false,
  // A dead link fails the build.
  ignoreDeadLinks: false,
  markdown: {
    // Rules have templates in double braces. They are text here, not expressions of Vue.
    config: (md) => {
      for (const kind of ['text', 'code_inline'] as const) {
        const rule = md.renderer.rules[kind]
        md.renderer.rules[kind] = (...call) => (rule?.(...call) ?? '').replaceAll('{{', '&#123;&#123;')
      }
    },
  },
  // The index of the search is loaded when somebody searches.
  vite: { build: { chunkSizeWarningLimit: 2_000 } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guide', link: '/guide/first-event' },
      { text: 'Contract', link: '/contract' },
      { text: 'API', link: '/api/' },
      { text: 'Changes', link: '/CHANGELOG' },
    ],
    sidebar: [
      { text: 'Guide', items: folder('guide', GUIDE) },
      { text: 'Engines', items: folder('engines', ['matrix']) },
      { text: 'Reference', items: [...REFERENCE.map(page), { text: 'API', link: '/api/' }] },
      { text: 'Compare', items: [page('comparison'), page('benchmarks'), page('figures')] },
      { text: 'Decisions', collapsed: true, items: folder('decisions') },
      { text: 'Project', items: [page('CONTRIBUTING'), page('CHANGELOG')] },
    ],
  },
})
