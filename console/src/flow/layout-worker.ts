/** The worker that computes the positions of the parts from left to right, with dagre. */
import { Graph, layout } from '@dagrejs/dagre'
import type { LayoutAsked, LayoutDone, Places } from './layout.ts'

addEventListener('message', ({ data }: MessageEvent<LayoutAsked>) => {
  const done: LayoutDone = { turn: data.turn, places: placesOf(data) }
  postMessage(done)
})

function placesOf({ parts, lines }: LayoutAsked): Places {
  const graph = new Graph({ multigraph: false })
  graph.setGraph({ rankdir: 'LR', nodesep: 18, ranksep: 64, marginx: 16, marginy: 16, ranker: 'tight-tree' })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const { id, width, height } of parts) graph.setNode(id, { width, height })
  for (const { from, to } of lines) graph.setEdge(from, to)
  layout(graph)
  return Object.fromEntries(
    parts.map(({ id, width, height }) => {
      const { x = 0, y = 0 } = graph.node(id) as { x?: number; y?: number }
      return [id, { x: x - width / 2, y: y - height / 2 }]
    }),
  )
}
