/** All channels, with what each stores and its rate. */
import type { ReactNode } from 'react'
import { useNumbers, useStructure } from '../live/live-flow.ts'
import { bytes, count, plain, rate } from '../parts/format.ts'
import { Empty, Waiting } from '../parts/notice.tsx'
import { FindHead } from '../shell/find-head.tsx'
import { To, useQuery } from '../shell/route.tsx'

export default function ChannelsView(): ReactNode {
  const structure = useStructure()
  const query = useQuery()
  if (structure === null) return <Waiting what="the channels" />
  const find = query.get('find').toLowerCase()
  const channels = structure.parts
    .filter(({ kind, name }) => kind === 'channel' && name.toLowerCase().includes(find))
    .sort((one, other) => one.name.localeCompare(other.name))
  return (
    <div className="page">
      <FindHead title="Channels" label="Find a channel" />
      {channels.length === 0 ? (
        <Empty title={find === '' ? 'There is no channel yet' : 'No channel has this name'} />
      ) : (
        <section className="table-box" aria-label="Channels">
          <table>
            <thead>
              <tr>
                <th>Channel</th>
                <th>Kind</th>
                <th className="number">Rate</th>
                <th className="number">Kept</th>
                <th className="number">Size</th>
                <th className="number">Delayed</th>
              </tr>
            </thead>
            <tbody>
              {channels.map(({ id, name, detail }) => (
                <Row key={id} id={id} name={name} kind={detail ?? ''} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </div>
  )
}

function Row({ id, name, kind }: { readonly id: string; readonly name: string; readonly kind: string }): ReactNode {
  const numbers = useNumbers(id)
  return (
    <tr className={numbers.goneMs === undefined ? undefined : 'gone'}>
      <td>
        <To to={{ view: 'channel', name }}>
          <bdi>{plain(name, 120)}</bdi>
        </To>
      </td>
      <td>{kind}</td>
      <td className="number">{rate(numbers.rate ?? 0)}</td>
      <td className="number">{count((numbers.next ?? 0) - (numbers.first ?? 0))}</td>
      <td className="number">{bytes(numbers.bytes)}</td>
      <td className="number">{count(numbers.scheduled ?? 0)}</td>
    </tr>
  )
}
