import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { endToEndChart } from '../../scripts/figures/chart.ts'
import { FIGURES_CHART, FIGURES_PAGE, readFigures, withResults } from '../../scripts/figures/figures.ts'
import { figuresPage } from '../../scripts/figures/page.ts'

describe('the measured figures in the docs', () => {
  it('has a page and a chart that are generated from docs/figures.json', () => {
    const figures = readFigures()
    expect(readFileSync(FIGURES_PAGE, 'utf8'), 'npm run docs:figures').toBe(figuresPage(figures))
    expect(readFileSync(FIGURES_CHART, 'utf8'), 'npm run docs:figures').toBe(endToEndChart(figures))
  })

  it('takes the cases of a whole run, and nothing of a quick one', () => {
    const machine = { node: 'v20.20.2', cpus: '2 × A', memoryGb: 4, commit: 'abc' }
    const row = {
      caseName: 'publish',
      title: 'Publish',
      load: '1 in flight',
      subject: 'millrace',
      value: 7,
      unit: 'events/s',
    }
    const results = { started: '2026-11-26T10:00:00.000Z', machine, options: {}, rows: [row] }
    expect(withResults(readFigures(), { ...results, options: { quick: true } })).toEqual(readFigures())
    const after = withResults(readFigures(), results)
    expect(after.map(({ caseName }) => caseName)).toEqual(readFigures().map(({ caseName }) => caseName))
    expect(after.find(({ caseName }) => caseName === 'publish')).toEqual({
      caseName: 'publish',
      title: 'Publish',
      options: '--only publish',
      date: '2026-11-26',
      machine: 'Node 20.20.2, 2 × A, 4 GB, commit abc',
      rows: [{ load: '1 in flight', subject: 'millrace', value: 7, unit: 'events/s' }],
    })
  })
})
