/** An event that was read with masks and corrected must not store the masks. The same over HTTP and over `ws:`. */
import { MillraceError } from '../base/errors.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { ChannelMask } from '../channel/channel-mask.ts'
import { eventText } from '../event/event-text.ts'
import { MASK } from '../event/sensitive/masked-event.ts'

/** `text` is CloudEvents JSON. @throws INVALID_EVENT when a sensitive field has the mask */
export function refuseMasked(
  spec: Pick<ChannelSpec, 'name' | 'schemas' | 'versions'>,
  { id, type, text }: { readonly id: string | undefined; readonly type: string; readonly text: string },
): void {
  if (!text.includes(MASK) || ChannelMask.of(spec)?.event(type, text).fromMasked !== true) return
  throw new MillraceError(
    'INVALID_EVENT',
    `${eventText({ id, type })} has "${MASK}" in a sensitive field, which stands for a value that the reader may not see: give the value, or leave the correction to somebody with the permission sensitive`,
    { channel: spec.name, type, id },
  )
}
