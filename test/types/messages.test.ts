/** Where the compiler reports a wrong call, and what it says: at the wrong argument, and at no other. */
import { join } from 'node:path'
import ts from 'typescript'
import { beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const FILE = join(import.meta.dirname, 'wrong-calls.ts')

const BEFORE = `
import { connect, consumer, event, stream } from 'millrace'
import { z } from 'zod'
const A = event('a.happened', z.object({ n: z.number() }))
const B = event('b.happened', z.object({ s: z.string() }))
const as = stream('as', { events: [A] })
const any = stream('any')
const broker = await connect('memory:')
`

/** A wrong call; where the error begins; what it says, and what it does not speak of. */
const CALLS: readonly (readonly [call: string, at: string, says: string])[] = [
  ["consumer('k', as, { retry: { tries: 3 } })", 'tries', "'tries' does not exist in type 'RetryOptions'"],
  ["consumer('k', as, { timeout: '5 minutes' })", 'timeout', "not assignable to type 'Duration | undefined'"],
  ["consumer('k', [as, any], { onDead: 'parck' })", 'onDead', 'Did you mean \'"park"\''],
  ["consumer('k', 'orders.*', { concurency: 3 })", 'concurency', "Did you mean to write 'concurrency'"],
  ["consumer('k', 5)", '5', "'number' is not assignable"],
  ["broker.publish(as, B({ s: 'x' }))", 'B(', 'Type \'"b.happened"\' is not assignable to type \'"a.happened"\''],
  [
    "broker.publish(as, [A({ n: 1 }), B({ s: 'x' })])",
    'B(',
    'Type \'"b.happened"\' is not assignable to type \'"a.happened"\'',
  ],
  ["broker.publish(as, A({ n: 1 }), { dely: '1s' })", 'dely', "Did you mean to write 'delay'"],
  ["broker.publish(as, A({ n: 1 }), { delay: 'soon' })", 'delay', "not assignable to type 'Duration | undefined'"],
  ['broker.publish(any, { data: 1 })', '{', "Property 'type' is missing"],
]

describe('a call that does not compile', () => {
  let faults: readonly ts.Diagnostic[]
  let text: string
  beforeAll(() => {
    text = `${BEFORE}${CALLS.map(([call]) => call).join('\n')}\n`
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile) as { config: object }
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT)
    const host = ts.createCompilerHost(options)
    const { readFile, fileExists } = host
    host.readFile = (name) => (name === FILE ? text : readFile.call(host, name))
    host.fileExists = (name) => name === FILE || fileExists.call(host, name)
    const program = ts.createProgram([FILE], options, host)
    faults = program.getSemanticDiagnostics(program.getSourceFile(FILE))
  }, 120_000)

  it.each(CALLS)('%s is wrong at %s', (call, at, says) => {
    const from = text.indexOf(call)
    const found = faults.filter(({ start = 0 }) => start >= from && start < from + call.length)
    expect(found).toHaveLength(1)
    const [fault] = found as [ts.Diagnostic]
    expect(text.slice(fault.start)).toMatch(new RegExp(`^${at.replace(/[(){}]/g, '\\$&')}`))
    const message = ts.flattenDiagnosticMessageText(fault.messageText, ' ')
    expect(message).toContain(says)
    expect(message).not.toMatch(/No overload matches|concat|length/)
  })
})
