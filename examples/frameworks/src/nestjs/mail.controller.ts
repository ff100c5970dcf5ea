/** Handles events: sends the mail about an order. */
import { Controller, UseFilters } from '@nestjs/common'
import { Ctx, EventPattern, Payload } from '@nestjs/microservices'
import { MailSent, mails, OrderPlaced } from '../orders.ts'
import { type MillraceContext, MillraceErrors } from './millrace-server.ts'

@Controller()
@UseFilters(MillraceErrors)
export class MailController {
  @EventPattern(OrderPlaced.type)
  async send(@Payload() data: { order: string; email: string; cents: number }, @Ctx() context: MillraceContext) {
    // An error is retried, and after the last attempt the event is a dead letter with the error's message.
    if (data.cents < 0) throw new Error(`order ${data.order} costs less than nothing`)
    await context.millrace.emit(mails, MailSent({ order: data.order, to: data.email }))
  }
}
