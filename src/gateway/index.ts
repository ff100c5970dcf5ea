/** `millrace/gateway`: a broker over HTTP. */
export type { AccessOptions } from './access/access-options.ts'
export type { JwtOptions } from './access/jwt-check.ts'
export type { Action, Permissions } from './access/permissions.ts'
export type { CallerLimits } from './access/principal.ts'
export { createGateway, type Gateway, type GatewayLimits, type GatewayOptions } from './gateway.ts'
export type { PushOptions } from './push/push-options.ts'
export { type ServeOptions, type ServingGateway, serveGateway } from './serve-gateway.ts'
export type { WebhookOptions } from './webhooks/webhook-options.ts'
