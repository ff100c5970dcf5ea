/** A line of the map, with its own rate. A dashed line is likely, not certain. */
import { BaseEdge, type Edge, EdgeLabelRenderer, type EdgeProps, getBezierPath } from '@xyflow/react'
import { memo, type ReactNode } from 'react'
import { live, useLineRate, useOf } from '../live/live-flow.ts'
import { rate } from '../parts/format.ts'

export type LineEdge = Edge<{ readonly ids: readonly string[]; readonly certain: boolean }, 'line'>

export const LineEdgeView = memo(function LineEdgeView(props: EdgeProps<LineEdge>): ReactNode {
  const [path, x, y] = getBezierPath(props)
  const ids = props.data?.ids ?? []
  const level = useLevel(ids)
  const classes = [
    'line',
    props.data?.certain === false ? 'unsure' : '',
    level > 0 ? `level-${level}` : 'quiet-line',
    props.selected === true ? 'chosen' : '',
  ]
  return (
    <>
      <BaseEdge path={path} className={classes.join(' ')} interactionWidth={0} />
      {level > 0 && (
        <EdgeLabelRenderer>
          <div className="line-rate" style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}>
            {ids.length === 1 ? <OneRate id={ids[0] as string} /> : <SumRate ids={ids} />}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  )
})

/** The width changes in steps, so that a line is not drawn again with every change of its rate. */
function useLevel(ids: readonly string[]): number {
  return useOf(() => {
    const sum = ids.reduce((total, id) => total + live.rate(id), 0)
    return sum < 0.05 ? 0 : sum < 10 ? 1 : sum < 1000 ? 2 : 3
  })
}

function OneRate({ id }: { readonly id: string }): ReactNode {
  return rate(useLineRate(id))
}

function SumRate({ ids }: { readonly ids: readonly string[] }): ReactNode {
  return useOf(() => rate(ids.reduce((total, id) => total + live.rate(id), 0)))
}
