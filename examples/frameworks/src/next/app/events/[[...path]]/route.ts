/** The gateway, with the console, at /events. */
import { millrace } from '../../../millrace.ts'

async function answer(request: Request): Promise<Response> {
  const { gateway } = await millrace()
  const url = new URL(request.url)
  url.pathname = url.pathname.slice('/events'.length)
  return gateway.fetch(new Request(url, request))
}

export {
  answer as DELETE,
  answer as GET,
  answer as HEAD,
  answer as OPTIONS,
  answer as PATCH,
  answer as POST,
  answer as PUT,
}
