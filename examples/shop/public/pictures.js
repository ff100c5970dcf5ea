/** Drawings of the articles: fixed markup, one drawing each. */

const sack = (cloth, shade, label, mark) => `
  <path d="M52 54c-8 20-14 46-12 74 1 14 8 20 22 20h76c14 0 21-6 22-20 2-28-4-54-12-74z" fill="${cloth}"/>
  <path d="M138 54c6 22 10 50 8 94h-8c14 0 21-6 22-20 2-28-4-54-12-74z" fill="${shade}"/>
  <path d="M50 54c4-10 2-18-4-26 12 6 18 0 26-2s14 6 28 2 16-4 26 0 16 6 28 0c-6 8-8 16-4 26-20 8-80 8-100 0z" fill="${cloth}"/>
  <path d="M50 54c20 8 80 8 100 0l-2 8c-20 8-76 8-96 0z" fill="${shade}"/>
  <rect x="66" y="78" width="68" height="52" rx="4" fill="${label}"/>${mark}`

const ear = (colour) => `
  <g fill="${colour}"><path d="M99 128q-1-20 1-44 2 24 1 44z"/>
  ${[0, 9, 18, 27].map((dy) => `<ellipse cx="93.5" cy="${92 + dy}" rx="3.1" ry="6.6" transform="rotate(-24 93.5 ${92 + dy})"/><ellipse cx="106.5" cy="${92 + dy}" rx="3.1" ry="6.6" transform="rotate(24 106.5 ${92 + dy})"/>`).join('')}
  <ellipse cx="100" cy="86" rx="3" ry="6.6"/></g>`

const drawings = {
  wheat: ['#f3e3bd', sack('#e2c48d', '#cfae74', '#fffaf0', ear('#b98124'))],
  rye: ['#e3ddd2', sack('#a88f73', '#927a60', '#f6efe2', ear('#5d4a37'))],
  spelt: ['#e6e8d2', sack('#c9c08f', '#b3aa78', '#fffdf0', ear('#6f7a35'))],
  oats: [
    '#f0e6da',
    `<path d="M62 40h76v14H62z" fill="#1f6f78"/><path d="M62 44h76v6H62z" fill="#2f8992"/><path d="M66 54h68c10 8 14 16 14 28v50c0 10-6 16-16 16H68c-10 0-16-6-16-16V82c0-12 4-20 14-28z" fill="#fffdf8" opacity=".9"/>
     <path d="M56 92c14-8 30 2 46-2s30-4 42 2v40c0 8-4 12-12 12H68c-8 0-12-4-12-12z" fill="#dcc096"/>
     <g fill="#c9a876">${[64, 80, 97, 114, 130, 72, 90, 107, 124, 68, 86, 102, 120].map((x, i) => `<ellipse cx="${x}" cy="${102 + (i % 3) * 14}" rx="6" ry="3.4" transform="rotate(${(i * 47) % 90} ${x} ${102 + (i % 3) * 14})"/>`).join('')}</g>`,
  ],
  starter: [
    '#dfe9e6',
    `<path d="M64 36h72v16H64z" fill="#b5532d"/><path d="M66 52h68c8 6 10 12 10 22v58c0 10-6 16-16 16H72c-10 0-16-6-16-16V74c0-10 2-16 10-22z" fill="#fffdf8" opacity=".92"/>
     <path d="M56 86c10-6 16 4 28 0s18-6 30 0 22 2 30-2v48c0 8-4 14-14 14H70c-10 0-14-6-14-14z" fill="#efdfc0"/>
     <g fill="#fffaf0"><circle cx="74" cy="104" r="6"/><circle cx="94" cy="118" r="8"/><circle cx="120" cy="104" r="7"/><circle cx="108" cy="132" r="5"/><circle cx="78" cy="130" r="5"/><circle cx="130" cy="126" r="5"/></g>
     <path d="M72 62v70" stroke="#fff" stroke-width="5" stroke-linecap="round" opacity=".8"/>`,
  ],
  loaf: [
    '#f4dfc6',
    `<ellipse cx="100" cy="142" rx="66" ry="8" fill="#000" opacity=".08"/><path d="M34 112c0-34 28-56 66-56s66 22 66 56c0 18-10 28-26 28H60c-16 0-26-10-26-28z" fill="#c07f3e"/>
     <path d="M34 112c0-34 28-56 66-56s66 22 66 56c0 8-2 14-6 19 0-40-26-59-60-59s-60 19-60 59c-4-5-6-11-6-19z" fill="#a5672d"/>
     <g stroke="#f3dcb4" stroke-width="7" stroke-linecap="round" fill="none"><path d="M66 78c8 8 10 20 8 32"/><path d="M98 70c6 10 8 24 6 38"/><path d="M130 78c4 8 6 18 3 30"/></g>`,
  ],
  basket: [
    '#eee3d3',
    `<path d="M36 74h128c0 44-20 72-64 72S36 118 36 74z" fill="#c99d62"/><g stroke="#a87d45" stroke-width="3" fill="none"><path d="M39 90h122M44 106h112M54 122h92M70 136h60"/><path d="M60 76c2 28 10 50 20 66M100 76v70M140 76c-2 28-10 50-20 66"/></g>
     <path d="M30 70c8-10 22-6 34-8 12-3 24 2 36 0s26-2 38 0 24-2 32 8c-6 8-18 8-30 8H60c-12 0-24 0-30-8z" fill="#fffaf0"/><path d="M46 68c30 6 78 6 108 0" stroke="#e2d8c4" stroke-width="3" fill="none"/>`,
  ],
  knife: [
    '#e2e6e6',
    `<g transform="rotate(-24 100 96)"><path d="M26 84h104v20H44c-10 0-16-8-18-20z" fill="#cfd8da"/><path d="M26 84h104v6H27z" fill="#eef3f4"/><path d="M44 104l5 5 5-5 5 5 5-5 5 5 5-5 5 5 5-5 5 5 5-5 5 5 5-5 5 5 5-5 5 5 5-5 5 5 6-5z" fill="#b4c0c3"/>
     <path d="M130 82h44c10 0 14 6 14 12s-4 12-14 12h-44z" fill="#8a5a34"/><g fill="#e2c48d"><circle cx="144" cy="94" r="3"/><circle cx="160" cy="94" r="3"/><circle cx="176" cy="94" r="3"/></g></g>`,
  ],
}

export function picture(sku) {
  const [ground, drawing] = drawings[sku] ?? ['#eee', '']
  const template = document.createElement('template')
  template.innerHTML = `<svg viewBox="0 0 200 170" role="presentation" aria-hidden="true" focusable="false"><rect width="200" height="170" fill="${ground}"/>${drawing}</svg>`
  return template.content.firstChild
}
