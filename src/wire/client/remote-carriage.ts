/** The carriage of an engine in another process. Each method is one call. */
import type {
  Carriage,
  CarriedConsumer,
  CarriedEvent,
  CarriedLetter,
  CarriedSchedule,
  Page,
} from '../../broker/carriage.ts'

type Ask = <Answer>(method: string, ...args: readonly unknown[]) => Promise<Answer>

export class RemoteCarriage implements Carriage {
  readonly #ask: Ask

  constructor(ask: Ask) {
    this.#ask = ask
  }

  accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }> {
    return this.#ask('carriage.accepts')
  }

  consumers(channel: string): Promise<readonly CarriedConsumer[]> {
    return this.#ask('carriage.consumers', channel)
  }

  letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>> {
    return this.#ask('carriage.letters', channel, consumer, from)
  }

  scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>> {
    return this.#ask('carriage.scheduled', channel, from)
  }

  async putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void> {
    await this.#ask('carriage.putEvents', channel, events)
  }

  async putConsumer(state: CarriedConsumer): Promise<void> {
    await this.#ask('carriage.putConsumer', state.channel, state)
  }

  async putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void> {
    await this.#ask('carriage.putLetters', channel, consumer, letters)
  }
}
