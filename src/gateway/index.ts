/** `millrace/gateway`: a broker over HTTP. */
export { createGateway, type Gateway, type GatewayOptions } from './gateway.ts'
export { type ServeOptions, type ServingGateway, serveGateway } from './serve-gateway.ts'
