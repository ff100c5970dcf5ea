/**
 * A client's session at the server: its subscriptions, reads and publishes on the engine, over successive connections.
 *
 * Invariants:
 * - All its memory is bounded by the client's credit, by windows and by the limits named `wire…`.
 * - A violation of the protocol ends the connection and the session.
 * - Without a connection it takes no deliveries, and its leases expire like a dead worker's
 *   (`delivery/dispatch/lease-watch.ts`). `keepMs` is how long the session itself is kept.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import type { ClaimOutcome, Emission, Engine } from '../../broker/engine.ts'
import { type Access, allows, wireErrorOf } from '../access.ts'
import { CLIENT_BOUNDS, FRAME, jsonFrame, jsonOf, malformed, numberedFrame } from '../frame.ts'
import { Link } from '../link.ts'
import { Settlements } from '../settle-frame.ts'
import type { Transport } from '../transport.ts'
import { type Call, callMethod } from './calls.ts'
import { checkClaims, checkConsumerSpec, checkOwn, checkPosition, objectOf } from './checks.ts'
import type { DeclaredChannels } from './declared-channels.ts'
import { ServedPublishing } from './served-publishing.ts'
import { ServedRead } from './served-read.ts'
import { ServedSubscription } from './served-subscription.ts'

export interface SessionHost {
  readonly engine: Engine
  readonly channels: DeclaredChannels
  /** The session is over. */
  ended(session: Session): void
}

export class Session {
  readonly id: string
  /** The permissions of the current connection. */
  access: Access
  readonly link: Link
  readonly #host: SessionHost
  readonly #publishing: ServedPublishing
  readonly #subscriptions = new Map<number, ServedSubscription>()
  /** Numbers of subscriptions that the engine has not yet accepted. */
  readonly #beginning = new Set<number>()
  readonly #reads = new Map<number, ServedRead>()
  #calls = 0
  #transport: Transport | null = null
  #crowded = false
  #full = false
  /** A pause of all deliveries until the caller's emissions are within its rate again. */
  #resting: NodeJS.Timeout | null = null
  #ended = false

  constructor(id: string, access: Access, host: SessionHost) {
    this.id = id
    this.access = access
    this.#host = host
    this.link = new Link({
      frame: (type, body) => this.#take(type, body),
      flushing: () => this.#collect(),
      room: () => this.#room(),
      nowMs: () => host.engine.clock.now(),
      told: () => undefined,
    })
    this.#publishing = new ServedPublishing(
      host.engine,
      host.channels,
      () => this.access,
      this.link,
      (crowded) => this.#crowd(crowded),
    )
  }

  /** How long the session is kept without a connection. */
  get keepMs(): number {
    let leaseMs = 0
    for (const { spec } of this.#subscriptions.values()) leaseMs = Math.max(leaseMs, spec.leaseMs)
    return Math.max(LIMITS.wireSessionMs, 1.5 * leaseMs + 1000)
  }

  get connected(): boolean {
    return this.#transport !== null
  }

  attach(transport: Transport, peerReceived: number): void {
    this.#transport?.destroy()
    this.#transport = transport
    this.link.attach(transport, peerReceived)
    if (this.#crowded) transport.pause()
    this.#apply()
  }

  /** The connection is over. */
  detach(transport: Transport): void {
    if (this.#transport !== transport) return
    this.#transport = null
    this.link.detach()
    this.#apply()
  }

  /** Send a heartbeat; if the connection seems dead, drop it. */
  beat(): void {
    if (this.#crowded) this.link.excuse()
    if (this.link.beat() !== null) this.#transport?.destroy()
  }

  #crowd(crowded: boolean): void {
    this.#crowded = crowded
    if (crowded) this.#transport?.pause()
    else {
      this.link.excuse()
      this.#transport?.resume()
    }
  }

  #room(): void {
    if (this.#full && this.link.waitingBytes < LIMITS.wireSentBytesMax / 2) {
      this.#full = false
      this.#apply()
    }
  }

  #collect(): void {
    for (const subscription of this.#subscriptions.values()) subscription.collect()
    if (!this.#full && this.link.waitingBytes > LIMITS.wireSentBytesMax) {
      this.#full = true
      this.#apply()
    }
  }

  #apply(): void {
    const held = this.#full || this.#transport === null || this.#resting !== null
    for (const subscription of this.#subscriptions.values()) subscription.hold(held)
  }

  /** @throws INVALID_REQUEST and any other error that a malformed body causes */
  #take(type: number, body: Buffer): void {
    if (this.#ended) return
    switch (type) {
      case FRAME.publish:
        this.#publishing.take(body)
        break
      case FRAME.settle:
        this.#settle(body)
        break
      case FRAME.renew:
        this.#subscriptions.get(body.readUInt32LE(0))?.renew()
        break
      case FRAME.switch:
        this.#subscriptions.get(body.readUInt32LE(0))?.switch(body[4] === 1, reasonIn(body, 5))
        break
      case FRAME.readMore:
        this.#reads.get(body.readUInt32LE(0))?.more(body.readUInt32LE(4))
        break
      case FRAME.readStop:
        this.#reads.get(body.readUInt32LE(0))?.stop()
        break
      case FRAME.goodbye:
        this.end()
        break
      default:
        this.#answer(type, body)
    }
  }

  /** Handle a frame that gets an answer, and send the answer with the request's number. */
  #answer(type: number, body: Buffer): void {
    const request = body.readUInt32LE(0)
    if (++this.#calls > LIMITS.wireCallsMax) throw malformed(`more than ${LIMITS.wireCallsMax} calls at once`)
    this.#act(type, request, body).then(
      (value) => this.#done(numberedFrame(FRAME.result, request, value ?? null)),
      (error: unknown) => this.#done(numberedFrame(FRAME.error, request, wireErrorOf(error))),
    )
  }

  #done(frame: Buffer): void {
    this.#calls--
    if (!this.#ended) this.link.send(frame)
  }

  #json(body: Buffer, at: number): unknown {
    return jsonOf(body, at, this.access.trusted ? null : CLIENT_BOUNDS)
  }

  async #act(type: number, request: number, body: Buffer): Promise<unknown> {
    if (type === FRAME.call || type === FRAME.subscribe || type === FRAME.read) this.access.admit?.(1)
    switch (type) {
      case FRAME.call: {
        const { method, args } = objectOf(this.#json(body, 4), 'a call') as unknown as Call
        return callMethod(method, { engine: this.#host.engine, access: this.access, args })
      }
      case FRAME.subscribe:
        return this.#subscribe(body.readUInt32LE(4), this.#json(body, 8))
      case FRAME.flush:
        return this.#subscriptions.get(body.readUInt32LE(4))?.flushed()
      case FRAME.mark:
        return this.#subscriptions.get(body.readUInt32LE(4))?.marked()
      case FRAME.states:
        return this.#subscriptions.get(body.readUInt32LE(4))?.states(numbersOf(body, 8))
      case FRAME.unsubscribe:
        return this.#unsubscribe(body.readUInt32LE(4))
      case FRAME.read:
        return this.#read(request, this.#json(body, 4))
      default:
        throw malformed(`a frame of type ${type}`)
    }
  }

  /** Returns the outcome of each of the client's claims. */
  async #subscribe(number: number, value: unknown): Promise<ClaimOutcome[]> {
    const {
      spec: given,
      claims: claimed,
      again,
    } = objectOf(value, 'a subscription') as Partial<Record<'spec' | 'claims' | 'again', unknown>>
    const spec = checkConsumerSpec(given)
    const claims = checkClaims(claimed)
    if (this.#beginning.has(number) || this.#subscriptions.has(number))
      throw malformed(`subscription ${number} exists already`)
    if (this.#beginning.size + this.#subscriptions.size >= LIMITS.wireSubscriptionsMax) throw tooMany('subscriptions')
    for (const channel of spec.channels) this.access.check('consume', channel)
    checkOwn(this.access, 'consume', spec.name)
    const served = new ServedSubscription(number, spec, {
      link: this.link,
      again: again === true,
      knows: (channels) => channels.length === 0 || this.access.trusted || this.#host.channels.areFresh(channels),
      look: (channels) => this.#host.channels.lookAt(channels),
      checkedEmissions: (emissions, keyed) => this.#checkedEmissions(emissions, keyed, spec.state?.name ?? null),
    })
    this.#beginning.add(number)
    const subscription = await this.#host.engine.subscribe(spec, served).finally(() => this.#beginning.delete(number))
    if (this.#ended) {
      await subscription.close()
      return []
    }
    this.#subscriptions.set(number, served)
    served.begin(subscription)
    this.#apply()
    return claims.length === 0 ? [] : served.claim(claims)
  }

  /**
   * A completion is never refused because of the caller's rate, since that would cost the event an attempt. Instead,
   * deliveries pause for a while.
   */
  #checkedEmissions(emissions: readonly Emission[], keyed: boolean, state: string | null): readonly Emission[] {
    const restMs = this.access.charge?.() ?? 0
    if (restMs > 0) this.#rest(restMs)
    // Whoever consumes with state may set it. The engine checks that it is the state of the event's key.
    for (const { channel } of emissions) if (channel !== state) this.access.check('publish', channel)
    if (this.access.trusted) return emissions
    return emissions.map(({ channel, event, dueAtMs }) => ({
      channel,
      event: this.#host.channels.checked(channel, event, keyed),
      dueAtMs,
    }))
  }

  #rest(ms: number): void {
    if (this.#resting !== null) clearTimeout(this.#resting)
    this.#resting = setTimeout(() => {
      this.#resting = null
      this.#apply()
    }, ms).unref()
    this.#apply()
  }

  async #unsubscribe(number: number): Promise<void> {
    const served = this.#subscriptions.get(number)
    if (served === undefined) return
    try {
      await served.close()
    } finally {
      this.#subscriptions.delete(number)
    }
  }

  #settle(body: Buffer): void {
    const served = this.#subscriptions.get(body.readUInt32LE(0))
    if (served === undefined) return
    served.settle(new Settlements(body, this.access.trusted ? null : CLIENT_BOUNDS))
  }

  async #read(request: number, value: unknown): Promise<void> {
    const {
      channel: named,
      from,
      to,
      follow,
    } = objectOf(value, 'a read') as Partial<Record<'channel' | 'from' | 'to' | 'follow', unknown>>
    const channel = checkName(named, 'channel')
    this.access.check('read', channel)
    if (this.#reads.has(request)) throw malformed(`read ${request} exists already`)
    if (this.#reads.size >= LIMITS.wireSubscriptionsMax) throw tooMany('reads')
    const read = new ServedRead(request, this.link)
    this.#reads.set(request, read)
    try {
      const range = {
        from: checkPosition(from),
        to: to === null ? null : checkPosition(to),
        follow: follow === true,
      }
      await read.run(this.#host.engine, channel, range, (name) => allows(this.access, 'sensitive', name))
    } finally {
      this.#reads.delete(request)
    }
  }

  /**
   * End the session: its reads stop, and its subscriptions close. With `leaving`, they stay claimable at the next
   * server.
   */
  end(leaving = false): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#resting !== null) clearTimeout(this.#resting)
    for (const read of this.#reads.values()) read.stop()
    for (const subscription of this.#subscriptions.values()) {
      if (leaving) subscription.leave()
      else subscription.close().catch(() => undefined)
    }
    this.#subscriptions.clear()
    this.link.flush()
    this.link.reset()
    this.#transport?.write([jsonFrame(FRAME.goodbye, {})])
    this.#transport?.end()
    this.#host.ended(this)
  }
}

/** @throws INVALID_REQUEST when there are more numbers than deliveries can be in flight */
function numbersOf(body: Buffer, from: number): number[] {
  const numbers: number[] = []
  for (let at = from; at + 4 <= body.length; at += 4) numbers.push(body.readUInt32LE(at))
  if (numbers.length > LIMITS.concurrencyMax) throw malformed('states of more deliveries than can be in flight')
  return numbers
}

/** The reason in the rest of a frame; null where there is none. */
function reasonIn(body: Buffer, at: number): string | null {
  return body.length <= at ? null : body.toString('utf8', at).slice(0, LIMITS.reasonCharsMax)
}

function tooMany(what: string): MillraceError {
  const max = LIMITS.wireSubscriptionsMax
  return new MillraceError(
    'BACKPRESSURE',
    `a session holds at most ${max} ${what}: end some, or open another connection`,
    { max },
  )
}
