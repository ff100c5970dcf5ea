/** Public addresses, and addresses that an application allows in addition. */
import { describe, expect, it } from 'vitest'
import { addressGuard } from '../../src/outbound/public-address.ts'

describe('public addresses', () => {
  const isPublic = addressGuard([])
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '192.167.1.1',
    '2606:4700::1111',
    '2a00:1450:4001:800::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
  ])('include %s', (address) => expect(isPublic(address)).toBe(true))
  it.each([
    ...[
      '0.0.0.0',
      '10.0.0.1',
      '100.64.0.1',
      '127.0.0.1',
      '127.255.255.255',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '192.0.2.1',
    ],
    ...['198.18.0.1', '198.51.100.7', '203.0.113.9', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255'],
    ...[
      '::',
      '::1',
      'fe80::1',
      'fe80::1%eth0',
      'fc00::1',
      'fd12:3456::1',
      'ff02::1',
      '2001:db8::1',
      '2002:7f00:1::',
      '2001::1',
      '::127.0.0.1',
      '100::1',
    ],
    ...[
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::ffff:10.0.0.1',
      '64:ff9b::7f00:1',
      '64:ff9b::10.0.0.1',
      '64:ff9b:1::1',
      '0:0:0:0:0:ffff:a00:1',
      'nonsense',
      '',
    ],
  ])('do not include %s', (address) => expect(isPublic(address)).toBe(false))

  it('are not the only ones if the configuration allows others', () => {
    const guard = addressGuard(['10.1.0.0/16', 'fd00::/8', '127.0.0.1'])
    expect(['10.1.2.3', 'fd00::7', '127.0.0.1', '::ffff:10.1.2.3', '8.8.8.8'].map(guard)).toEqual([
      true,
      true,
      true,
      true,
      true,
    ])
    expect(['10.2.0.1', '127.0.0.2', 'fc00::1', '::ffff:10.2.0.1'].map(guard)).toEqual([false, false, false, false])
    for (const wrong of ['10.1.0.0/33', 'example.com', '10.1/16', '::1/129'])
      expect(() => addressGuard([wrong])).toThrow('http.allow')
  })
})
