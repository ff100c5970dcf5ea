/** All consumers, those with problems first. */
import type { ReactNode } from 'react'
import { live, troubleOf, useNumbers, useOf, useStructure } from '../live/live-flow.ts'
import { count, plain, rate, span } from '../parts/format.ts'
import { Empty, Waiting } from '../parts/notice.tsx'
import { FindHead } from '../shell/find-head.tsx'
import { To, useQuery } from '../shell/route.tsx'

export default function ConsumersView(): ReactNode {
  const structure = useStructure()
  const query = useQuery()
  const find = query.get('find').toLowerCase()
  const order = useOf(() =>
    (live.structure?.parts ?? [])
      .filter(({ kind, name }) => kind === 'consumer' && name.toLowerCase().includes(find))
      .sort((one, other) => gravity(one.id) - gravity(other.id) || one.name.localeCompare(other.name))
      .map(({ name }) => name)
      .join('\n'),
  )
  if (structure === null) return <Waiting what="the consumers" />
  const names = order === '' ? [] : order.split('\n')
  return (
    <div className="page">
      <FindHead title="Consumers" label="Find a consumer" />
      {names.length === 0 ? (
        <Empty title={find === '' ? 'No consumer has begun yet' : 'No consumer has this name'} />
      ) : (
        <section className="table-box" aria-label="Consumers">
          <table>
            <thead>
              <tr>
                <th>Consumer</th>
                <th>State</th>
                <th className="number">Behind</th>
                <th className="number">Oldest waits</th>
                <th className="number">Rate</th>
                <th className="number">In flight</th>
                <th className="number">Dead letters</th>
                <th className="number">Instances</th>
              </tr>
            </thead>
            <tbody>
              {names.map((name) => (
                <Row key={name} name={name} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </div>
  )
}

function gravity(id: string): number {
  const trouble = troubleOf(live.numbers(id))
  return trouble === null ? 2 : trouble.level === 'bad' ? 0 : 1
}

function Row({ name }: { readonly name: string }): ReactNode {
  const numbers = useNumbers(`consumer:${name}`)
  const trouble = troubleOf(numbers)
  return (
    <tr className={numbers.goneMs === undefined ? undefined : 'gone'}>
      <td>
        <To to={{ view: 'consumer', name }}>
          <bdi>{plain(name, 120)}</bdi>
        </To>
      </td>
      <td>
        {trouble === null ? (
          <span className="muted">ok</span>
        ) : (
          <span className={`badge ${trouble.level}`}>{trouble.text}</span>
        )}
      </td>
      <td className="number">{count(numbers.lag ?? 0)}</td>
      <td className="number">{span(numbers.lagMs ?? 0)}</td>
      <td className="number">{rate(numbers.rate ?? 0)}</td>
      <td className="number">{count(numbers.inFlight ?? 0)}</td>
      <td className="number">{count(numbers.deadLetters ?? 0)}</td>
      <td className="number">{count(numbers.instances ?? 0)}</td>
    </tr>
  )
}
