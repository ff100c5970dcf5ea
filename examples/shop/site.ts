/** The shop's pages. They use the gateway's public interface only; this file only serves the files. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { CATALOGUE } from './catalogue.ts'

const FOLDER = join(dirname(createRequire(import.meta.url).resolve('millrace/package.json')), 'examples/shop/public')
const PAGES: Readonly<Record<string, string>> = {
  '/': 'shop.html',
  '/github': 'github.html',
  '/assets/style.css': 'style.css',
  '/assets/millrace.js': 'millrace.js',
  '/assets/pictures.js': 'pictures.js',
  '/assets/shop.js': 'shop.js',
  '/assets/github.js': 'github.js',
  '/favicon.svg': 'favicon.svg',
}
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html',
  css: 'text/css',
  js: 'text/javascript',
  svg: 'image/svg+xml',
}
const POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

/** Answers requests for which the gateway has no route. */
export function site(): (request: Request) => Response {
  const files = new Map(
    Object.entries(PAGES).map(([path, file]) => [
      path,
      { body: readFileSync(join(FOLDER, file)), type: TYPES[file.split('.').at(-1) ?? ''] },
    ]),
  )
  return (request) => {
    const { pathname } = new URL(request.url)
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return new Response('method not allowed\n', { status: 405, headers: { allow: 'GET, HEAD' } })
    if (pathname === '/catalogue.json') return Response.json(CATALOGUE)
    const file = files.get(pathname)
    if (file === undefined) return new Response('there is no such page\n', { status: 404 })
    return new Response(file.body, {
      headers: {
        'content-type': `${file.type}; charset=utf-8`,
        'content-security-policy': POLICY,
        'cache-control': 'no-cache',
      },
    })
  }
}
