/**
 * The rules for imports. They are read with TypeScript's own scanner, so comments and strings do not count.
 *
 * A room imports from itself and from the rooms before it; engines never import each other; nothing imports `cli`; a
 * foreign library is named in its room only; values never import each other in a circle, and types do so only in the
 * rooms of `TYPE_CIRCLES`.
 */
import { dirname, join } from 'node:path/posix'
import ts from 'typescript'
import type { SourceFile } from './sources.ts'

/** The rooms in order: each may import those before it. `pattern` is below `event`: docs/decisions/0001. */
export const ROOMS = [
  // The code for web pages: it imports nothing, so that it never needs Node.
  'browser',

  'base',
  'pattern',
  'event',
  'channel',
  'compatibility',
  'broker',
  'delivery',
  'wire',
  'external-log',
  'sql',
  'consumer',
  'data',
  'process',
  'outbound',
  'rules',
  'schedule',
  'catalogue',
  'why',
  'copy',
  'telemetry',
  'metrics-history',
  'engines',
  'gateway',
  'testing',
  'cli',
] as const

/** Libraries that only some rooms may import: the folders (or single files) that may name each. */
export const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  // Types only: the interface that every schema library implements.
  '@standard-schema/spec': ['src/'],
  lmdb: ['src/engines/embedded/storage/'],
  hono: ['src/gateway/'],
  '@hono/node-server': ['src/gateway/'],
  ws: ['src/wire/', 'src/gateway/', 'src/engines/remote/'],
  jose: ['src/gateway/'],
  standardwebhooks: ['src/outbound/'],
  croner: ['src/schedule/'],
  yaml: ['src/rules/', 'src/cli/'],
  '@nats-io/jetstream': ['src/engines/nats/'],
  '@nats-io/transport-node': ['src/engines/nats/'],
  '@nats-io/nats-core': ['src/engines/nats/'],
  '@nats-io/kv': ['src/engines/nats/'],
  '@platformatic/kafka': ['src/engines/kafka/'],
  kafkajs: ['src/engines/kafka/'],
  ioredis: ['src/engines/redis/'],
  redis: ['src/engines/redis/'],
  'rabbitmq-client': ['src/engines/rabbitmq/'],
  pg: ['src/engines/postgres/'],
  commander: ['src/cli/'],
  '@clack/prompts': ['src/cli/'],
}

/** Files, or folders, whose files still import each other's types in a circle. No other file of `src` does. */
export const TYPE_CIRCLES: readonly string[] = ['src/gateway/direct-answer.ts', 'src/pattern/', 'src/wire/client/']

export interface Import {
  readonly from: string
  readonly line: number
  /** As written. */
  readonly specifier: string
  /** Whether it is removed by compilation. */
  readonly typeOnly: boolean
  /** Whether it is an `import()` of a value: it runs when called, so it closes no circle at load time. */
  readonly deferred: boolean
}

const parsed = new WeakMap<SourceFile, Import[]>()

/** Every import, re-export, `import()` and `import('…')` type of a file. */
export function importsOf(file: SourceFile): Import[] {
  const imports = parsed.get(file) ?? parseImports(file)
  parsed.set(file, imports)
  return imports
}

function parseImports(file: SourceFile): Import[] {
  const source = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true)
  const found: Import[] = []
  const add = (node: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean, deferred = false): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    found.push({
      from: file.path,
      line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1,
      specifier: specifier.text,
      typeOnly,
      deferred,
    })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, importIsTypeOnly(node.importClause))
    else if (ts.isExportDeclaration(node)) add(node, node.moduleSpecifier, exportIsTypeOnly(node))
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node, node.argument.literal, true)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node, node.arguments[0], false, true)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function importIsTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const named = clause.namedBindings
  return (
    clause.name === undefined &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.every((element) => element.isTypeOnly)
  )
}

function exportIsTypeOnly(node: ts.ExportDeclaration): boolean {
  if (node.isTypeOnly) return true
  return (
    node.exportClause !== undefined &&
    ts.isNamedExports(node.exportClause) &&
    node.exportClause.elements.every((element) => element.isTypeOnly)
  )
}

/** What is wrong with the imports of `files`, one sentence each. `files` are all of `src`. */
export function importFaults(files: readonly SourceFile[]): string[] {
  const imports = files.flatMap(importsOf)
  const ofValues = circles(imports.filter((each) => !each.typeOnly && !each.deferred))
  const ofTypes = circles(imports.filter((each) => !TYPE_CIRCLES.some((path) => each.from.startsWith(path))))
  return [...imports.flatMap((each) => faultOf(each) ?? []), ...new Set([...ofValues, ...ofTypes])]
}

function faultOf(each: Import): string | undefined {
  const where = `${each.from}:${each.line}`
  if (each.specifier.startsWith('.')) return roomFault(each.from, target(each), where)
  if (each.specifier.startsWith('node:')) return undefined
  const library = each.specifier
    .split('/')
    .slice(0, each.specifier.startsWith('@') ? 2 : 1)
    .join('/')
  const allowed = LIBRARIES[library]
  if (allowed === undefined)
    return `${where}: ${library} is not in LIBRARIES (test/house/imports.ts): say which room may use it`
  return allowed.some((folder) => each.from.startsWith(folder))
    ? undefined
    : `${where}: ${library} belongs to ${allowed.join(', ')}`
}

function roomFault(from: string, to: string, where: string): string | undefined {
  const [fromRoom, toRoom] = [roomOf(from), roomOf(to)]
  // Public entries beside the rooms (src/index.ts) may import all rooms but `cli`, and no room imports an entry.
  if (toRoom === undefined)
    return fromRoom === 'cli' && to.startsWith('src/') ? undefined : `${where}: ${to} is not in a room`
  if (toRoom === 'cli' && fromRoom !== 'cli') return `${where}: nothing imports cli`
  if (fromRoom === undefined) return undefined
  if (ROOMS.indexOf(toRoom) > ROOMS.indexOf(fromRoom))
    return `${where}: ${fromRoom} stands before ${toRoom} and may not import it (${to})`
  if (fromRoom !== 'engines' || toRoom !== 'engines') return undefined
  const [fromEngine, toEngine] = [from.split('/')[2], to.split('/')[2]]
  return fromEngine === toEngine
    ? undefined
    : `${where}: the engine ${fromEngine} may not import the engine ${toEngine} (${to})`
}

function roomOf(path: string): (typeof ROOMS)[number] | undefined {
  const [src, room, ...rest] = path.split('/')
  return src === 'src' && rest.length > 0 ? ROOMS.find((each) => each === room) : undefined
}

function target(each: Import): string {
  return join(dirname(each.from), each.specifier)
}

/** The entries of `TYPE_CIRCLES` that are no longer in a circle: delete them from the list. */
export function openedCircles(files: readonly SourceFile[]): string[] {
  const found = circles(files.flatMap(importsOf))
  return TYPE_CIRCLES.filter((path) => !found.some((circle) => circle.includes(` ${path}`)))
}

/** Circles among imports, as `a → b → a`. */
function circles(imports: readonly Import[]): string[] {
  const edges = new Map<string, string[]>()
  for (const each of imports) {
    if (!each.specifier.startsWith('.')) continue
    edges.set(each.from, [...(edges.get(each.from) ?? []), target(each)])
  }
  const found: string[] = []
  const state = new Map<string, 'open' | 'done'>()
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      found.push(`circle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
      return
    }
    state.set(file, 'open')
    for (const next of edges.get(file) ?? []) visit(next, [...path, file])
    state.set(file, 'done')
  }
  for (const file of edges.keys()) visit(file, [])
  return found
}
