/**
 * Clause 22: a request that became a dead letter is answered with a problem, so that the requester does not wait for
 * the end of its time. This is sent after the event was settled, and not with it: it may be lost when the process dies,
 * and then the request times out.
 */
import type { BrokerHost } from '../broker/broker.ts'
import type { Delivery } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'
import { problemEvent, type ReplyAddress, repliesChannel, replyAddressOf, replyEvent } from '../broker/replies.ts'

type Sender = Pick<BrokerHost, 'engine' | 'encoder'>

export function replyProblem(broker: Sender, consumer: string, delivery: Delivery, failure: Failure): void {
  const address = replyAddressOf(delivery)
  if (address !== null) void send(broker, consumer, address, failure).catch(() => undefined)
}

async function send(
  { engine, encoder }: Sender,
  consumer: string,
  address: ReplyAddress,
  failure: Failure,
): Promise<void> {
  await encoder.prepare(repliesChannel)
  const event = await encoder.encode(repliesChannel.name, replyEvent(problemEvent(failure), address, consumer))
  await engine.publish(repliesChannel.name, event, null)
}
