/**
 * The code in the documentation: every fenced `ts` block of the pages and every `@example` of the library.
 *
 * Words after `ts` on the fence say more: `no-run` is only type-checked; `continues` continues in the module of the
 * previous block; `file=events.ts` names the module, so that later blocks of the page can import `./events.ts`. If a
 * statement is followed by a literal in a comment, `total // 3`, its value must be equal to it.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { ROOT, type SourceFile } from './sources.ts'

const COMPILE_MS = 180_000
const RUN_MS = 30_000

export interface Sample {
  /** The page or source file, and the line of the fence. */
  readonly name: string
  /** The path of its module, from the folder of all samples. */
  readonly module: string
  readonly code: string
  readonly run: boolean
}

/** The samples of Markdown pages. */
export function samplesOfPages(pages: readonly SourceFile[]): Sample[] {
  return pages.flatMap((page) => samplesOf(page.path, page.text))
}

/** The samples in the `@example`s of docstrings. */
export function samplesOfSources(sources: readonly SourceFile[]): Sample[] {
  return sources.flatMap((source) => {
    // The comment's own stars are removed; everything else stays in its line.
    const lines = source.text
      .split('\n')
      .map((line) => (/^\s*\/?\*/.test(line) ? line.replace(/^\s*\/?\*+ ?/, '') : '\u0000'))
    return samplesOf(source.path, lines.join('\n'))
  })
}

function samplesOf(path: string, text: string): Sample[] {
  const found: Sample[] = []
  for (const fence of text.matchAll(/^```ts\b([^\n]*)\n([\s\S]*?)^```/gm)) {
    const words = (fence[1] ?? '').trim().split(/\s+/)
    const code = fence[2] ?? ''
    const before = found.at(-1)
    if (words.includes('continues') && before !== undefined) {
      found[found.length - 1] = {
        ...before,
        code: `${before.code}\n${code}`,
        run: before.run && !words.includes('no-run'),
      }
      continue
    }
    const line = text.slice(0, fence.index).split('\n').length
    const named = words.find((word) => word.startsWith('file='))?.slice('file='.length)
    found.push({
      name: `${path}:${line}`,
      module: `${path.replaceAll('/', '-')}/${named ?? `line-${line}.ts`}`,
      code,
      run: !words.includes('no-run'),
    })
  }
  return found
}

/** The module of a sample: its code, with checks made from the values in its comments. */
export function moduleOf(sample: Sample): string {
  const source = ts.createSourceFile('sample.ts', sample.code, ts.ScriptTarget.ES2023, true)
  let code = sample.code
  for (const statement of [...source.statements].reverse()) {
    if (!ts.isExpressionStatement(statement)) continue
    const comment = ts.getTrailingCommentRanges(sample.code, statement.end)?.[0]
    const expected = comment && literalOf(sample.code.slice(comment.pos, comment.end).replace(/^\/\/\s*/, ''))
    if (expected === undefined) continue
    const checked = logged(statement.expression) ?? statement.expression
    code = `${code.slice(0, checked.getStart())}isAsShown(${checked.getText()}, ${expected})${code.slice(checked.end)}`
  }
  return `${code}\nimport { isAsShown } from '../is-as-shown.ts'\nexport type Checked = typeof isAsShown\n`
}

/** The argument of a `console.log` with one argument. */
function logged(expression: ts.Expression): ts.Expression | undefined {
  if (!ts.isCallExpression(expression) || expression.expression.getText() !== 'console.log') return undefined
  return expression.arguments.length === 1 ? expression.arguments[0] : undefined
}

/** The text, if it is only a literal. */
function literalOf(text: string): string | undefined {
  const source = ts.createSourceFile('literal.ts', `(${text})`, ts.ScriptTarget.ES2023, true)
  const statement = source.statements[0]
  const broken = (source as unknown as { readonly parseDiagnostics: readonly unknown[] }).parseDiagnostics.length > 0
  if (broken || source.statements.length !== 1 || statement === undefined || !ts.isExpressionStatement(statement))
    return undefined
  return ts.isParenthesizedExpression(statement.expression) && isLiteral(statement.expression.expression)
    ? text
    : undefined
}

function isLiteral(node: ts.Expression): boolean {
  if (ts.isArrayLiteralExpression(node)) return node.elements.every(isLiteral)
  if (ts.isObjectLiteralExpression(node))
    return node.properties.every((property) => ts.isPropertyAssignment(property) && isLiteral(property.initializer))
  if (ts.isPrefixUnaryExpression(node)) return isLiteral(node.operand)
  if (ts.isIdentifier(node)) return node.text === 'undefined'
  return (
    ts.isLiteralExpression(node) ||
    [ts.SyntaxKind.TrueKeyword, ts.SyntaxKind.FalseKeyword, ts.SyntaxKind.NullKeyword].includes(node.kind)
  )
}

const IS_AS_SHOWN = `import { deepStrictEqual } from 'node:assert/strict'

export function isAsShown<Value>(value: Value, shown: unknown): Value {
  deepStrictEqual(value, shown)
  return value
}
`

/** A folder inside the project in which samples are compiled with the library's sources and run. */
export class SampleFolder {
  readonly #folder = mkdtempSync(join(ROOT, '.samples-'))

  /** Compile all samples together. Resolves with the errors of each, by its name. */
  async compile(samples: readonly Sample[]): Promise<Map<string, string>> {
    writeFileSync(join(this.#folder, 'is-as-shown.ts'), IS_AS_SHOWN)
    for (const sample of samples) {
      const path = join(this.#folder, sample.module)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, moduleOf(sample))
    }
    writeFileSync(join(this.#folder, 'tsconfig.json'), this.#config())
    this.#becomePackage()
    const output = await execute(
      [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '-p', this.#folder],
      ROOT,
      COMPILE_MS,
    )
    const here = `${relative(ROOT, this.#folder)}/`
    return new Map(
      samples.flatMap((sample) => {
        const lines = output.text.split('\n').filter((line) => line.startsWith(`${here}${sample.module}(`))
        return lines.length === 0 ? [] : [[sample.name, lines.join('\n')] as const]
      }),
    )
  }

  /** Run a compiled sample in an empty folder. Resolves with its output if it failed or did not end. */
  async run(sample: Sample): Promise<string | undefined> {
    const cwd = mkdtempSync(join(tmpdir(), 'millrace-sample-'))
    try {
      const path = join(this.#folder, 'out', relative(ROOT, this.#folder), sample.module.replace(/\.ts$/, '.js'))
      const { ok, text } = await execute(['--enable-source-maps', path], cwd, RUN_MS)
      return ok ? undefined : text
    } finally {
      rmSync(cwd, { recursive: true, force: true })
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #config(): string {
    const compilerOptions = {
      noEmit: false,
      noUnusedLocals: false,
      noUnusedParameters: false,
      declaration: false,
      sourceMap: true,
      rootDir: ROOT,
      outDir: join(this.#folder, 'out'),
      paths: {
        millrace: [join(ROOT, 'src/index.ts')],
        'millrace/otel': [join(ROOT, 'src/telemetry/index.ts')],
        'millrace/*': [join(ROOT, 'src/*/index.ts')],
      },
    }
    return JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions,
      include: ['**/*.ts'],
      exclude: ['out'],
    })
  }

  /**
   * The compiled samples import this package as `millrace`, so that they run the current sources and not an earlier
   * build.
   */
  #becomePackage(): void {
    const exports = { '.': './src/index.js', './otel': './src/telemetry/index.js', './*': './src/*/index.js' }
    mkdirSync(join(this.#folder, 'out'))
    writeFileSync(
      join(this.#folder, 'out/package.json'),
      JSON.stringify({ name: 'millrace', version: '0.0.0', type: 'module', exports }),
    )
  }
}

function execute(args: readonly string[], cwd: string, timeoutMs: number): Promise<{ ok: boolean; text: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...args],
      { cwd, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const late = error?.killed === true ? `did not end within ${timeoutMs} ms\n` : ''
        resolve({ ok: error === null, text: `${late}${stdout}${stderr}` })
      },
    )
  })
}
