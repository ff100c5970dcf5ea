/**
 * The addresses to which Millrace may connect by itself: public ones, and those that the application's configuration
 * allows.
 *
 * Every block that IANA's special-purpose registries do not list as globally reachable is refused. An IPv6 address that
 * embeds an IPv4 address is judged by that IPv4 address.
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry
 * @see https://www.iana.org/assignments/iana-ipv6-special-registry
 */
import { BlockList, isIP } from 'node:net'
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { addressBits } from '../pattern/ip-address.ts'

const BARRED_V4 = [
  ...[
    '0.0.0.0/8',
    '10.0.0.0/8',
    '100.64.0.0/10',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '172.16.0.0/12',
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.31.196.0/24',
  ],
  ...[
    '192.52.193.0/24',
    '192.88.99.0/24',
    '192.168.0.0/16',
    '192.175.48.0/24',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '224.0.0.0/4',
    '240.0.0.0/4',
  ],
]
/** Blocks of the global unicast range 2000::/3 that are not globally reachable. */
const BARRED_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']
const GLOBAL_V6 = '2000::/3'
/** Blocks whose last 32 bits are an IPv4 address: IPv4-mapped addresses, and NAT64. */
const EMBEDDING_V4 = blockList(['::ffff:0:0/96', '64:ff9b::/96'])

/** Whether a connection to the address is permitted. */
export type AddressGuard = (address: string) => boolean

function add(list: BlockList, block: string, option: string): void {
  const [address = '', width] = block.split('/')
  const family = isIP(address)
  const bits = width === undefined ? (family === 4 ? 32 : 128) : Number(width)
  if (family === 0 || !/^\d{1,3}$/.test(width ?? '0') || bits > (family === 4 ? 32 : 128)) {
    throw new MillraceError(
      'INVALID_OPTION',
      `${option} takes addresses and blocks such as 10.1.0.0/16 or fd00::/8; it has ${JSON.stringify(block)}`,
      {
        option,
      },
    )
  }
  list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
}

function blockList(blocks: readonly string[], option = ''): BlockList {
  const list = new BlockList()
  for (const block of blocks) add(list, block, option)
  return list
}

const BARRED = blockList([...BARRED_V4, ...BARRED_V6])
const GLOBAL = blockList([GLOBAL_V6])

/** The IPv4 address that an IPv6 address embeds in its last 32 bits. */
function embeddedV4(address: string): string | null {
  if (!EMBEDDING_V4.check(address, 'ipv6')) return null
  const bits = addressBits(new URL(`http://[${address}]/`).hostname.slice(1, -1))?.slice(-32)
  return bits === undefined ? null : [0, 8, 16, 24].map((at) => Number.parseInt(bits.slice(at, at + 8), 2)).join('.')
}

function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !BARRED.check(address, 'ipv4')
  const inner = embeddedV4(address)
  return inner === null ? GLOBAL.check(address, 'ipv6') && !BARRED.check(address, 'ipv6') : isPublic(inner)
}

/** Permits public addresses and those in the blocks `allowed`. @throws INVALID_OPTION */
export function addressGuard(allowed: readonly string[], option = 'http.allow'): AddressGuard {
  if (!Array.isArray(allowed) || allowed.some((block) => typeof block !== 'string')) {
    throw new MillraceError(
      'INVALID_OPTION',
      `${option} must be an array of address blocks, such as ['10.0.0.0/8']; it is ${shown(allowed)}`,
      { option },
    )
  }
  const list = blockList(allowed, option)
  return (given) => {
    const address = given.replace(/%.*$/, '')
    const family = isIP(address)
    if (family === 0) return false
    const inner = family === 6 ? embeddedV4(address) : null
    return (
      list.check(address, family === 4 ? 'ipv4' : 'ipv6') ||
      (inner !== null && list.check(inner, 'ipv4')) ||
      isPublic(address)
    )
  }
}
