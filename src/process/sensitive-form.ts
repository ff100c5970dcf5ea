/**
 * Sensitive fields in what a process stores: an event in its inbox, and the state of an instance, are within events of
 * Millrace's own. If a schema marks a field, the whole event or state is marked: whoever may not see sensitive fields
 * sees that it is there, and nothing of it.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { JsonObject } from '../base/json-object.ts'
import { jsonSchemaOf } from '../channel/kept-schemas.ts'
import { SENSITIVE } from '../event/sensitive/marked-places.ts'
import { SensitiveFields } from '../event/sensitive/masked-event.ts'

/** Whether a schema marks a field as sensitive. */
export function isSensitive(schema: StandardSchemaV1 | undefined): boolean {
  const kept = schema === undefined ? null : jsonSchemaOf(schema)
  return kept !== null && SensitiveFields.of(kept) !== null
}

/** The JSON Schema of an object whose one member is sensitive, for `~standard` of a Standard Schema. */
export function sensitiveMember(member: string): {
  readonly jsonSchema: { input(): JsonObject; output(): JsonObject }
} {
  const form = (): JsonObject => ({ type: 'object', properties: { [member]: { [SENSITIVE]: true } } })
  return { jsonSchema: { input: form, output: form } }
}
