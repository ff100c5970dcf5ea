/** `millrace/gateway`: a broker over HTTP. */
export { createGateway, type Gateway, type GatewayOptions } from './gateway.ts'
export { type ServeOptions, serveGateway, type ServingGateway } from './serve-gateway.ts'
