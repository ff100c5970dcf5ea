/** Publishes an order. */
import { isMillraceError } from 'millrace'
import { OrderPlaced, orders } from '../../../orders.ts'
import { millrace } from '../../millrace.ts'

export async function POST(request: Request): Promise<Response> {
  const body = (await request.json()) as { order: string; email: string; cents: number }
  const { broker } = await millrace()
  try {
    // The order's number is the event's id: a client that sends the order again does not order twice.
    return Response.json(await broker.publish(orders, OrderPlaced(body, { id: body.order })), { status: 202 })
  } catch (error) {
    if (isMillraceError(error, 'SCHEMA_MISMATCH')) return Response.json({ error: error.message }, { status: 422 })
    throw error
  }
}
