/** The map of the flow. Its arrays of nodes and edges change when parts come or go, never when numbers change. */
import {
  Background,
  BackgroundVariant,
  Controls,
  MarkerType,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from '@xyflow/react'
import '@xyflow/react/dist/base.css'
import { type ReactNode, useEffect, useMemo, useRef, useState } from 'react'
import { plain } from '../parts/format.ts'
import { Waiting } from '../parts/notice.tsx'
import type { Shown } from './choose.ts'
import { layoutOf, type Places } from './layout.ts'
import { type LineEdge, LineEdgeView } from './line-edge.tsx'
import { NODE_HEIGHT, NODE_WIDTH, type PartNode, PartNodeView } from './part-node.tsx'

const nodeTypes = { part: PartNodeView }
const edgeTypes = { line: LineEdgeView }

export interface MapProps {
  readonly shown: Shown
  readonly chosen: string
  readonly choose: (id: string) => void
}

export default function FlowMap(props: MapProps): ReactNode {
  return (
    <ReactFlowProvider>
      <Chart {...props} />
    </ReactFlowProvider>
  )
}

function usePlaces(shown: Shown): { readonly key: string; readonly places: Places } | null {
  const key = useMemo(() => JSON.stringify([shown.parts.map(({ id }) => id), shown.lines.map(({ id }) => id)]), [shown])
  const [done, setDone] = useState<{ readonly key: string; readonly places: Places } | null>(null)
  const asked = useRef(shown)
  asked.current = shown
  useEffect(() => {
    let left = false
    const { parts, lines } = asked.current
    void layoutOf({
      parts: parts.map(({ id }) => ({ id, width: NODE_WIDTH, height: NODE_HEIGHT })),
      lines: lines.map(({ from, to }) => ({ from, to })),
    }).then((places) => !left && setDone({ key, places }))
    return () => {
      left = true
    }
  }, [key])
  return done
}

/** The parts that have a place. */
function nodesOf({ parts }: Shown, places: Places, chosen: string): PartNode[] {
  return parts.flatMap((part): PartNode[] => {
    const position = places[part.id]
    if (position === undefined) return []
    return [
      {
        id: part.id,
        type: 'part',
        position,
        data: { part },
        width: NODE_WIDTH,
        height: NODE_HEIGHT,
        ariaLabel: plain(`${part.kind} ${part.name}`, 120),
        selected: part.id === chosen,
      },
    ]
  })
}

/** The lines. Those of the chosen part are selected. */
function edgesOf({ lines }: Shown, chosen: string): LineEdge[] {
  return lines.map(({ id, from, to, ids, certain }) => ({
    id,
    type: 'line',
    source: from,
    target: to,
    data: { ids, certain },
    selected: chosen !== '' && (from === chosen || to === chosen),
    focusable: false,
    markerEnd: { type: MarkerType.ArrowClosed },
  }))
}

function Chart({ shown, chosen, choose }: MapProps): ReactNode {
  const done = usePlaces(shown)
  const { fitView } = useReactFlow()
  const nodes = useMemo(() => nodesOf(shown, done?.places ?? {}, chosen), [shown, done, chosen])
  const edges = useMemo(() => edgesOf(shown, chosen), [shown, chosen])
  const key = done?.key
  useEffect(() => {
    if (key !== undefined) void fitView({ padding: 0.06, maxZoom: 1.1 })
  }, [key, fitView])
  if (done === null) return <Waiting what="the map" />
  return (
    <ReactFlow
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      edgeTypes={edgeTypes}
      nodesDraggable={false}
      nodesConnectable={false}
      edgesFocusable={false}
      onlyRenderVisibleElements={shown.parts.length > 120}
      minZoom={0.1}
      maxZoom={1.6}
      fitView
      fitViewOptions={{ padding: 0.06, maxZoom: 1.1 }}
      proOptions={{ hideAttribution: true }}
      onNodeClick={(_, node) => choose(node.id)}
      onPaneClick={() => choose('')}
      onSelectionChange={({ nodes: [one] }) => {
        if (one !== undefined && one.id !== chosen) choose(one.id)
      }}
    >
      <Background variant={BackgroundVariant.Dots} gap={22} size={1} />
      <Controls showInteractive={false} />
    </ReactFlow>
  )
}
