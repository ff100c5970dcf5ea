/** The rules that need types are on for every file that they are meant for, and find what they are meant to find. */
import { ESLint } from 'eslint'
import { describe, expect, it } from 'vitest'
import { filesBelow, ROOT } from './sources.ts'

const eslint = new ESLint({ cwd: ROOT })

/** Faults planted in a file of the library, by the rule that must find them. */
const PLANTED = {
  '@typescript-eslint/no-floating-promises': `Promise.resolve()`,
  '@typescript-eslint/no-misused-promises': `[1].forEach(async () => {})`,
  '@typescript-eslint/await-thenable': `await 1`,
  '@typescript-eslint/return-await': `export async function planted(): Promise<void> { try { return Promise.resolve() } catch {} }`,
  '@typescript-eslint/switch-exhaustiveness-check': `declare const side: 'left' | 'right'; switch (side) { case 'left': break }`,
  '@typescript-eslint/no-explicit-any': `export const planted: any = 1`,
}

describe('the rules that need types', () => {
  it.each(Object.entries(PLANTED))(
    '%s finds what is planted',
    async (rule, code) => {
      const [result] = await eslint.lintText(`${code}\n`, { filePath: 'src/index.ts' })
      expect(result?.messages.map((message) => message.ruleId ?? message.message)).toEqual([rule])
    },
    120_000,
  )

  it('hold for every file', async () => {
    const files = ['src', 'test', 'bench', 'examples', 'scripts'].flatMap((folder) => filesBelow(folder, '.ts'))
    const judged = files.filter((file) => !file.path.endsWith('.generated.ts'))
    const configs = await Promise.all(
      judged.map(
        async (file) => [file.path, (await eslint.calculateConfigForFile(file.path)) as Config | undefined] as const,
      ),
    )
    expect(
      configs.flatMap(([path, config]) =>
        config?.rules?.['@typescript-eslint/no-floating-promises']?.[0] === 2 ? [] : [path],
      ),
    ).toEqual([])
  })
})

interface Config {
  readonly rules?: Readonly<Record<string, readonly unknown[]>>
}
