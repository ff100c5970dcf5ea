/** The version of this package. A constant, as a bundle has no package.json beside it; a test compares the two. */
export const VERSION = '0.1.0'
