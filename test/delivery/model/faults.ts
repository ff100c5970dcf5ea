/** Faults that are planted in the delivery room, to see that the model finds them: each takes the place of one method, and is taken out again. */

import { OffsetSet } from '../../../src/base/offset-set.ts'
import { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import { CursorState } from '../../../src/delivery/cursor/cursor-state.ts'
import { Blockade } from '../../../src/delivery/dead/blockade.ts'
import { DeadLetterBox } from '../../../src/delivery/dead/dead-letter-box.ts'
import { KeptEvents } from '../../../src/delivery/dead/kept-events.ts'
import { AttachedInstances } from '../../../src/delivery/dispatch/attached-instances.ts'
import { ConsumerKeys } from '../../../src/delivery/dispatch/consumer-keys.ts'
import { Instance } from '../../../src/delivery/dispatch/instance.ts'
import { Lane } from '../../../src/delivery/dispatch/lane.ts'
import { LaneTable } from '../../../src/delivery/dispatch/lane-table.ts'
import { WantFilter } from '../../../src/delivery/dispatch/want-filter.ts'
import { SimStore } from './sim-store.ts'

/** Plants a fault. The answer takes it out. */
export type Plant = () => () => void

/** Another method in place of a class's own, which it is given. */
function instead<Class extends object, Name extends keyof Class>(
  of: { readonly prototype: Class },
  name: Name,
  make: (own: Class[Name]) => Class[Name],
): Plant {
  return () => {
    const own = Object.getOwnPropertyDescriptor(of.prototype, name) as PropertyDescriptor
    Object.defineProperty(of.prototype, name, {
      configurable: true,
      writable: true,
      value: make(own.value as Class[Name]),
    })
    return () => Object.defineProperty(of.prototype, name, own)
  }
}

/** Another value in place of what a getter answers. */
function read<Class extends object, Name extends keyof Class>(
  of: { readonly prototype: Class },
  name: Name,
  value: (self: Class) => Class[Name],
): Plant {
  return () => {
    const own = Object.getOwnPropertyDescriptor(of.prototype, name) as PropertyDescriptor
    Object.defineProperty(of.prototype, name, {
      configurable: true,
      get(this: Class) {
        return value(this)
      },
    })
    return () => Object.defineProperty(of.prototype, name, own)
  }
}

function both(one: Plant, other: Plant): Plant {
  return () => {
    const takeOut = [one(), other()]
    return () => {
      for (const each of takeOut) each()
    }
  }
}

export const FAULTS: Readonly<Record<string, Plant>> = {
  'a new event joins its chain while older ones wait in the lane': both(
    instead(KeptEvents, 'mayJoin', () => () => true),
    instead(KeptEvents, 'giveChain', (give) => {
      return function (this: KeptEvents, lane, chain) {
        const waiting = lane.offsets
        for (const offset of waiting) lane.remove(offset)
        give.call(this, lane, chain)
        for (const offset of waiting) lane.add(offset)
      }
    }),
  ),
  'a completion is taken while an earlier event of its key waits': instead(Lane, 'waitsBefore', () => () => false),
  'what is put back is now and then lost': instead(
    Lane,
    'add',
    (add) =>
      function (this: Lane, offset) {
        if (offset % 5 !== 3) add.call(this, offset)
      },
  ),
  'each key has as many lanes as it likes': instead(LaneTable, 'find', () => () => undefined),
  'a failed attempt counts twice': instead(
    CursorState,
    'fail',
    (fail) =>
      function (this: CursorState, offset, retry) {
        fail.call(this, offset, { ...retry, attempts: retry.attempts + 1 })
      },
  ),
  'failed attempts are not counted': instead(CursorState, 'attempts', () => () => 0),
  'a retry does not wait': instead(
    CursorState,
    'fail',
    (fail) =>
      function (this: CursorState, offset, retry) {
        fail.call(this, offset, { ...retry, dueAtMs: 0 })
      },
  ),
  'retention takes an event too many': instead(
    OffsetSet,
    'addRun',
    (addRun) =>
      function (this: OffsetSet, offset, count) {
        addRun.call(this, offset, count + 1)
      },
  ),
  'what is settled is not written': instead(SimStore, 'touch', () => () => undefined),
  'a letter stays after its event was completed': instead(DeadLetterBox, 'done', () => () => undefined),
  'a letter that blocks stops nothing': read(Blockade, 'stands', () => false),
  'keys of redriven letters are not looked at': instead(Cursor, 'wake', () => () => undefined),
  'a redrive forgets which letters come next': instead(DeadLetterBox, 'takeUnchained', (take) => {
    return function (this: DeadLetterBox, consumer, offset) {
      take.call(this, consumer, offset)
      take.call(this, consumer, offset + 1)
    }
  }),
  'a rewind keeps the lanes': instead(LaneTable, 'clear', () => () => undefined),
  'what a lost lease takes away is given to nobody': instead(Cursor, 'expire', () => () => undefined),
  'an instance that holds an event loses it in a takeover': instead(
    AttachedInstances,
    'claimant',
    () => () => undefined,
  ),
  'a paused instance is given events': read(
    Instance,
    'isReady',
    (instance) => !instance.closing && !instance.lapsed && !instance.abandoned && instance.begun,
  ),
  'an instance takes more than it has credit for': read(Instance, 'hasCredit', ({ isReady }) => isReady),
  'a key is in hands in two channels at once': instead(ConsumerKeys, 'mayTake', () => () => true),
  'a second channel does not begin the table of keys': instead(ConsumerKeys, 'attended', () => () => undefined),
  'filters are not asked': instead(WantFilter, 'accepts', () => () => true),
}
