/** A part of the map. It subscribes to its own numbers: React Flow's array of nodes does not change with them. */
import { Handle, type Node, type NodeProps, Position } from '@xyflow/react'
import { memo, type ReactNode } from 'react'
import { live, troubleOf, useNumbers, useOf } from '../live/live-flow.ts'
import { plain, rate } from '../parts/format.ts'
import { KIND_WORDS, type ShownPart } from './choose.ts'
import { wordsOf } from './part-words.ts'

export type PartNode = Node<{ readonly part: ShownPart }, 'part'>

export const NODE_WIDTH = 196
export const NODE_HEIGHT = 62

export const PartNodeView = memo(function PartNodeView({ data: { part }, selected }: NodeProps<PartNode>): ReactNode {
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      {part.members.length > 1 ? <Group part={part} selected={selected} /> : <One part={part} selected={selected} />}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </>
  )
})

function One({ part, selected }: { readonly part: ShownPart; readonly selected: boolean }): ReactNode {
  const numbers = useNumbers(part.id)
  const trouble = troubleOf(numbers)
  const state = [
    numbers.goneMs !== undefined && 'gone',
    numbers.enabled === false && 'gone',
    selected && 'chosen',
    trouble?.level,
  ]
  return (
    <div className={['part', `part-${part.kind}`, ...state.filter(Boolean)].join(' ')}>
      <div className="part-head">
        <span className="part-kind">{part.detail === 'queue' ? 'Queue' : KIND_WORDS[part.kind]}</span>
        {trouble !== null && <span className={`badge ${trouble.level}`}>{trouble.text}</span>}
      </div>
      <bdi className="part-name" title={plain(part.name, 200)}>
        {plain(part.name, 60)}
      </bdi>
      <div className="part-numbers">{wordsOf(part.kind, numbers)}</div>
    </div>
  )
}

function Group({ part, selected }: { readonly part: ShownPart; readonly selected: boolean }): ReactNode {
  const words = useOf(() => {
    const all = part.members.map((id) => live.numbers(id))
    const sum = all.reduce((total, numbers) => total + (numbers.rate ?? 0), 0)
    const troubles = all.filter((numbers) => troubleOf(numbers) !== null).length
    return `${rate(sum)}|${troubles}`
  })
  const [sum, troubles] = words.split('|')
  return (
    <div
      className={[
        'part',
        `part-${part.kind}`,
        'part-group',
        selected ? 'chosen' : '',
        troubles === '0' ? '' : 'bad',
      ].join(' ')}
    >
      <div className="part-head">
        <span className="part-kind">
          {part.members.length} {KIND_WORDS[part.kind].toLowerCase()}s
        </span>
        {troubles !== '0' && (
          <span className="badge bad" title={`${troubles} with problems`}>
            {troubles} bad
          </span>
        )}
      </div>
      <bdi className="part-name">{plain(part.name, 60)}</bdi>
      <div className="part-numbers">{sum}</div>
    </div>
  )
}
