/** The articles of the shop: reference data, not events. */
export interface Article {
  readonly sku: string
  readonly name: string
  readonly about: string
  readonly cents: number
  /** The stock on the first day. */
  readonly stock: number
  /** Three or more of it are a tenth cheaper. */
  readonly bulk: boolean
}

export const CATALOGUE: readonly Article[] = [
  {
    sku: 'wheat',
    name: 'Stoneground wheat',
    about: 'Whole grain, milled slowly. 1 kg',
    cents: 380,
    stock: 40,
    bulk: true,
  },
  { sku: 'rye', name: 'Dark rye', about: 'For loaves that keep a week. 1 kg', cents: 420, stock: 30, bulk: true },
  {
    sku: 'spelt',
    name: 'Heritage spelt',
    about: 'Nutty, from the upper fields. 1 kg',
    cents: 560,
    stock: 24,
    bulk: true,
  },
  {
    sku: 'oats',
    name: 'Rolled oats',
    about: 'Steamed and rolled on Mondays. 750 g',
    cents: 310,
    stock: 36,
    bulk: true,
  },
  { sku: 'starter', name: 'Sourdough starter', about: 'Alive since 1987. One jar', cents: 790, stock: 12, bulk: false },
  { sku: 'loaf', name: 'Miller’s loaf', about: 'Baked this morning. 800 g', cents: 650, stock: 16, bulk: false },
  {
    sku: 'basket',
    name: 'Proofing basket',
    about: 'Woven cane, linen lining. 22 cm',
    cents: 2400,
    stock: 8,
    bulk: false,
  },
  { sku: 'knife', name: 'Bread knife', about: 'Serrated, pear-wood handle. 25 cm', cents: 3900, stock: 6, bulk: false },
]

export const ARTICLES: ReadonlyMap<string, Article> = new Map(CATALOGUE.map((article) => [article.sku, article]))
