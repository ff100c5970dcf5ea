/** Publishes: the HTTP side of the application. */
import { Body, Controller, HttpCode, Inject, Post, UnprocessableEntityException } from '@nestjs/common'
import { isMillraceError, type StoredReceipt } from 'millrace'
import { firstValueFrom } from 'rxjs'
import { OrderPlaced } from '../orders.ts'
import { MillraceClient, MillraceRecord } from './millrace-client.ts'

@Controller('orders')
export class OrdersController {
  readonly #client: MillraceClient

  constructor(@Inject(MillraceClient) client: MillraceClient) {
    this.#client = client
  }

  @Post()
  @HttpCode(202)
  async place(@Body() body: { order: string }): Promise<StoredReceipt> {
    try {
      // The order's number is the event's id: a client that sends the order again does not order twice.
      const record = new MillraceRecord(body, { id: body.order })
      return await firstValueFrom(this.#client.emit<StoredReceipt>(OrderPlaced.type, record))
    } catch (error) {
      if (isMillraceError(error, 'SCHEMA_MISMATCH')) throw new UnprocessableEntityException(error.message)
      throw error
    }
  }
}
