import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { moduleOf, SampleFolder, samplesOfPages, samplesOfSources } from './samples.ts'
import { filesBelow, ROOT } from './sources.ts'

const CANARY = `
\`\`\`ts
const count: number = 'three'
\`\`\`
\`\`\`ts
throw new Error('as planted')
\`\`\`
\`\`\`ts
[1, 2].length // 3
\`\`\`
\`\`\`ts file=shared.ts
export const total: number = 2
\`\`\`
\`\`\`ts
import { total } from './shared.ts'
\`\`\`
\`\`\`ts continues
total // 2
console.log(total + 1) // 4
\`\`\`
\`\`\`ts no-run
throw new Error('not run')
\`\`\`
`

const README = existsSync(join(ROOT, 'README.md'))
  ? [{ path: 'README.md', text: readFileSync(join(ROOT, 'README.md'), 'utf8') }]
  : []
const samples = [
  ...samplesOfPages([...README, ...filesBelow('docs', '.md')]),
  ...samplesOfSources(filesBelow('src', '.ts')),
]
const canaries = samplesOfPages([{ path: 'canary.md', text: CANARY }])
const canary = (line: number): (typeof canaries)[number] =>
  canaries.find((each) => each.name === `canary.md:${line}`) ?? expect.fail(`no canary at ${line}`)

let folder: SampleFolder
let faults: Map<string, string>

beforeAll(async () => {
  folder = new SampleFolder()
  faults = await folder.compile([...samples, ...canaries])
}, 200_000)

afterAll(() => folder.remove())

describe('what the documentation shows', () => {
  it('is there', () => {
    expect(samples.length).toBeGreaterThan(10)
  })

  it.concurrent.each(samples.map((sample) => [sample.name, sample] as const))(
    '%s',
    async (_name, sample) => {
      expect(faults.get(sample.name)).toBeUndefined()
      if (sample.run) expect(await folder.run(sample)).toBeUndefined()
    },
    40_000,
  )
})

describe('the check of samples finds', () => {
  it('what does not compile', () => {
    expect(faults.get('canary.md:2')).toContain("Type 'string' is not assignable to type 'number'")
    expect(faults.get('canary.md:5')).toBeUndefined()
  })

  it('what throws', async () => {
    expect(await folder.run(canary(5))).toContain('as planted')
  })

  it('a value that is not as shown', async () => {
    expect(await folder.run(canary(8))).toContain('Expected values to be strictly deep-equal')
  })

  it('a wrong value behind a module of the page, in a block that continues', async () => {
    expect(moduleOf(canary(14))).toContain('isAsShown(total, 2)')
    expect(faults.get('canary.md:14')).toBeUndefined()
    expect(await folder.run(canary(14))).toContain('3 !== 4')
  })

  it('nothing in what is not to be run', () => {
    expect(canary(21).run).toBe(false)
  })
})
