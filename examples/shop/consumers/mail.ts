/** Sends mail through a provider that fails now and then. */
import { type Broker, consumer, type Running } from 'millrace'
import { letters, MailRequested, MailSent, mail } from '../events.ts'
import { Greylisted, type MailProvider } from '../mail-provider.ts'

export function startMail(broker: Broker, provider: MailProvider): Promise<Running> {
  const mailer = consumer('mail', mail, { concurrency: 4, retry: { attempts: 4, min: '500ms', max: '5s' } }).on(
    MailRequested,
    async ({ id, data }, ctx) => {
      // A crash cannot undo an external effect. The event's id is the idempotency key, so that the provider recognises
      // a repeated request.
      try {
        await provider.send({ key: id, attempt: ctx.attempt, insist: ctx.redriven, to: data.to, subject: data.subject })
      } catch (error) {
        if (error instanceof Greylisted) ctx.retryAfter(error.delayMs, error)
        throw error
      }
      await ctx.emit(letters, MailSent({ ...data, attempts: ctx.attempt }))
    },
  )
  return broker.start(mailer)
}
