/**
 * One chart over time, drawn by uPlot. Drag to zoom; double-click to see the whole time again. The same values are in a
 * table, for those who cannot see the chart.
 */
import { type ReactNode, useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { History } from '../api/types.ts'
import { clock } from '../parts/format.ts'
import { colourOf } from '../shell/theme.ts'
import type { Histories } from './use-history.ts'

const HEIGHT = 170
/** Rows of the table: the newest points. */
const ROWS = 12

export interface Line {
  readonly label: string
  readonly figure: string
  /** A variable of the style sheet. */
  readonly colour: string
}

export interface TimeChartProps {
  readonly title: string
  readonly lines: readonly Line[]
  readonly histories: Histories
  readonly value: (value: number) => string
  readonly zoom: (fromMs: number, toMs: number) => void
  readonly reset: () => void
}

type Values = readonly (number | null)[]

export function TimeChart(props: TimeChartProps): ReactNode {
  const { title, lines, histories, value } = props
  const [open, setOpen] = useState(false)
  const newest = lines.map(({ figure }) => valuesOf(histories.now, figure).findLast((each) => each !== null) ?? null)
  const nothing = newest.every((each) => each === null)
  return (
    <figure className="chart">
      <figcaption>
        <span>{title}</span>
        <span className="chart-keys">
          {lines.map(({ label, colour }, index) => (
            <span key={label}>
              <i style={{ background: `var(${colour})` }} />
              {lines.length > 1 && `${label} `}
              <b>{newest[index] == null ? '' : value(newest[index])}</b>
            </span>
          ))}
        </span>
      </figcaption>
      {nothing ? <p className="chart-empty muted">Nothing was recorded in this time.</p> : <Drawing {...props} />}
      <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary>
          Table<span className="hidden"> of {title}</span>
        </summary>
        {open && <Table {...props} />}
      </details>
    </figure>
  )
}

function Table({ title, lines, histories: { now }, value }: TimeChartProps): ReactNode {
  const all = lines.map(({ figure }) => valuesOf(now, figure))
  const count = all[0]?.length ?? 0
  const points = Array.from({ length: Math.min(ROWS, count) }, (_, index) => count - 1 - index)
  return (
    <div className="table-box">
      <table aria-label={`Values of ${title}`}>
        <thead>
          <tr>
            <th>From</th>
            {lines.map(({ label }) => (
              <th key={label} className="number">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {points.map((point) => (
            <tr key={point}>
              <td>{clock(now.fromMs + point * now.stepMs)}</td>
              {all.map((values, index) => (
                <td key={lines[index]?.label} className="number">
                  {values[point] == null ? 'not recorded' : value(values[point])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The part that uPlot draws. It is made again when the lines or the theme change, and gets new data otherwise. */
function Drawing(props: TimeChartProps): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot | null>(null)
  const latest = useRef(props)
  latest.current = props
  const compares = props.histories.yesterday !== null
  const key = `${props.lines.map(({ figure }) => figure).join()} ${compares}`
  useEffect(() => {
    const element = box.current
    if (element === null || key === '') return
    const made = new uPlot(
      optionsOf(element, () => latest.current),
      dataOf(latest.current),
      element,
    )
    chart.current = made
    const resized = new ResizeObserver(() => {
      const width = Math.max(200, element.clientWidth)
      if (width !== made.width) made.setSize({ width, height: HEIGHT })
    })
    resized.observe(element)
    const unwatch = onTheme(() => made.redraw(false, true))
    return () => {
      resized.disconnect()
      unwatch()
      made.destroy()
    }
  }, [key])
  const { histories } = props
  useEffect(() => {
    if (histories !== undefined) chart.current?.setData(dataOf(latest.current))
  }, [histories])
  return <div ref={box} aria-hidden="true" className="chart-box" />
}

function optionsOf(element: HTMLElement, props: () => TimeChartProps): uPlot.Options {
  const { lines, histories } = props()
  const colour = (name: string) => (): string => colourOf(element, name)
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line') },
    font: '12px system-ui, sans-serif',
  }
  const series = (name: string, dash: number[] | undefined): uPlot.Series => ({
    stroke: colour(name),
    width: dash === undefined ? 2 : 1.5,
    ...(dash !== undefined && { dash }),
    points: { size: 4 },
  })
  return {
    width: Math.max(200, element.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: true, y: false, setScale: false }, sync: { key: 'history' }, y: false },
    hooks: {
      setSelect: [
        (made) => {
          const { left, width } = made.select
          if (width < 4) return
          props().zoom(made.posToVal(left, 'x') * 1000, made.posToVal(left + width, 'x') * 1000)
          made.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
        },
      ],
      ready: [(made) => made.over.addEventListener('dblclick', () => props().reset())],
    },
    axes: [
      { ...axis, space: 70, values: (_, splits) => splits.map((at) => timeOf(at * 1000, splits)) },
      { ...axis, size: 64, values: (_, ticks) => distinct(ticks.map((tick) => props().value(tick))) },
    ],
    scales: {
      x: { time: true, range: (_, least, most) => [least, most === least ? most + 60 : most] },
      y: { range: (_, __, most) => [0, Math.max(1e-9, (most ?? 0) === 0 ? 1 : (most ?? 1) * 1.1)] },
    },
    series: [
      {},
      ...lines.map((line) => series(line.colour, undefined)),
      ...(histories.yesterday === null ? [] : lines.map((line) => series(line.colour, [4, 4]))),
    ],
  }
}

/** Calls the function when the page's colours change. */
function onTheme(changed: () => void): () => void {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const chosen = new MutationObserver(changed)
  dark.addEventListener('change', changed)
  chosen.observe(document.documentElement, { attributeFilter: ['data-theme'] })
  return () => {
    dark.removeEventListener('change', changed)
    chosen.disconnect()
  }
}

/** Small numbers are rounded in texts: a text that the tick below has already is left out. */
function distinct(texts: readonly string[]): string[] {
  return texts.map((text, index) => (text === texts[index - 1] ? '' : text))
}

/** Today's values and, point by point, those of yesterday. */
function dataOf({ lines, histories: { now, yesterday } }: TimeChartProps): uPlot.AlignedData {
  const count = lines.reduce((most, { figure }) => Math.max(most, valuesOf(now, figure).length), 0)
  const times = Array.from({ length: count }, (_, index) => (now.fromMs + index * now.stepMs) / 1000)
  const own = lines.map(({ figure }) => filled(valuesOf(now, figure), count))
  if (yesterday === null) return [times, ...own]
  const before = lines.map(({ figure }) => {
    const values = valuesOf(yesterday, figure)
    return times.map((at) => values[Math.floor((at * 1000 - yesterday.fromMs) / yesterday.stepMs)] ?? null)
  })
  return [times, ...own, ...before]
}

function filled(values: Values, count: number): (number | null)[] {
  return Array.from({ length: count }, (_, index) => values[index] ?? null)
}

function valuesOf({ figures }: History, figure: string): Values {
  return figures[figure] ?? []
}

function timeOf(atMs: number, splits: readonly number[]): string {
  const date = new Date(atMs)
  const stepS = (splits[1] ?? 0) - (splits[0] ?? 0)
  if (stepS >= 86_400) return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
  const time = date.toLocaleTimeString('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    ...(stepS < 60 && { second: '2-digit' }),
  })
  return time === '00:00' ? date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }) : time
}
