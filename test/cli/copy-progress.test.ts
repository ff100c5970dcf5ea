/** How a copy shows its progress: one redrawn line on a terminal, separate lines elsewhere. */
import { expect, test } from 'vitest'
import { ProgressLine } from '../../src/cli/copy-progress.ts'

function written(isTTY: boolean): { readonly line: ProgressLine; readonly texts: string[] } {
  const texts: string[] = []
  return { line: new ProgressLine({ isTTY, columns: 60, write: (text) => texts.push(text) }), texts }
}

test('a terminal gets one line that is overwritten and no wider than the terminal', () => {
  const { line, texts } = written(true)
  line.update({ channel: 'carts', step: 'copy', done: 500, total: 1000 })
  line.update({ channel: 'carts', step: 'copy', done: 1000, total: 1000 })
  line.end()
  expect(texts.slice(0, 2).every((text) => text.startsWith('\r\x1b[2K'))).toBe(true)
  expect(texts[0]).toContain('████████████░░░░░░░░░░░░  50 %')
  expect(texts[1]).toContain('100 %')
  for (const text of texts) expect(text.replace('\r\x1b[2K', '').length).toBeLessThan(60)
  expect(texts.at(-1)).toBe('\n')
})

test('a file gets a line from time to time, and one at the end of each step', () => {
  const { line, texts } = written(false)
  for (let done = 1; done <= 1000; done++) line.update({ channel: 'carts', step: 'copy', done, total: 1000 })
  line.update({ channel: 'carts', step: 'compare', done: 1000, total: 1000 })
  line.end()
  expect(texts).toHaveLength(3)
  expect(texts[0]).toBe('copy carts  0 %  1 of 1,000\n')
  expect(texts[1]).toMatch(/^copy carts {2}100 % {2}1,000 of 1,000/)
  expect(texts[2]).toMatch(/^compare carts {2}100 %/)
})

test('a channel without events is complete at once', () => {
  const { line, texts } = written(false)
  line.update({ channel: 'empty', step: 'compare', done: 0, total: 0 })
  expect(texts).toEqual(['compare empty  100 %  0 of 0\n'])
})
