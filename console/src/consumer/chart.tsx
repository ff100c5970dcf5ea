/** A chart of rate, lag or age since the page was opened, drawn by uPlot. Drag to zoom, double-click to reset. */
import { type ReactNode, useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { live, type Sample } from '../live/live-flow.ts'
import { colourOf } from '../shell/theme.ts'

const HEIGHT = 150

export function Chart({
  id,
  label,
  of,
  unit,
}: {
  readonly id: string
  readonly label: string
  readonly of: (sample: Sample) => number
  readonly unit: string
}): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = box.current
    if (element === null) return
    const colour = (property: string, alpha?: number): string => colourOf(element, property, alpha)
    const axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line') },
    }
    const chart = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        axes: [axis, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => `${tick} ${unit}`) }],
        scales: { x: { range: timeRange }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
        series: [
          {},
          { label, stroke: colour('--accent'), fill: colour('--accent', 0.13), width: 2, points: { show: false } },
        ],
      },
      dataOf(id, of),
      element,
    )
    const timer = setInterval(() => chart.setData(dataOf(id, of), !zoomed(chart)), 1000)
    const resized = new ResizeObserver(() => {
      const width = Math.max(200, element.clientWidth)
      if (width !== chart.width) chart.setSize({ width, height: HEIGHT })
    })
    resized.observe(element)
    return () => {
      clearInterval(timer)
      resized.disconnect()
      chart.destroy()
    }
  }, [id, label, of, unit])
  return (
    <figure className="chart">
      <figcaption>{label}</figcaption>
      <div ref={box} aria-hidden="true" />
    </figure>
  )
}

function dataOf(id: string, of: (sample: Sample) => number): uPlot.AlignedData {
  const samples = live.samples(id)
  return [samples.map(({ atMs }) => atMs / 1000), samples.map(of)]
}

/** At least a minute: with one sample, uPlot would draw an axis of years. */
function timeRange(_: uPlot, least: number | null, most: number | null): uPlot.Range.MinMax {
  const end = most ?? Date.now() / 1000
  return least === null || end - least < 5 ? [end - 60, end] : [least, end]
}

/** Whether the reader has zoomed in. */
function zoomed(chart: uPlot): boolean {
  const times = chart.data[0]
  const { min, max } = chart.scales['x'] ?? {}
  return min != null && max != null && times.length > 1 && (min > (times[0] ?? 0) || max < (times.at(-1) ?? 0))
}
