/**
 * The theme: light, dark, or the system's setting, stored in this browser. The attribute `data-theme` chooses the
 * `color-scheme` in `styles/base.css`; without it the system's setting applies.
 */
import { useState } from 'react'

const THEMES = ['system', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]
const KEY = 'millrace.theme'

export function storedTheme(): Theme {
  const value = localStorage.getItem(KEY)
  return THEMES.find((theme) => theme === value) ?? 'system'
}

export function apply(theme: Theme): void {
  if (theme === 'system') document.documentElement.removeAttribute('data-theme')
  else document.documentElement.dataset['theme'] = theme
}

/**
 * The colour that a custom property has in the current theme, as `rgb(…)`, for drawing on a canvas. The property itself
 * says `light-dark(…)`.
 */
export function colourOf(element: HTMLElement, property: string, alpha = 1): string {
  const before = element.style.color
  element.style.color = `var(${property})`
  const { color } = getComputedStyle(element)
  element.style.color = before
  return alpha === 1 ? color : color.replace('rgb(', 'rgba(').replace(')', `, ${alpha})`)
}

export function useTheme(): readonly [theme: Theme, next: () => void] {
  const [theme, setTheme] = useState(storedTheme)
  const next = (): void => {
    const following = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] as Theme
    localStorage.setItem(KEY, following)
    apply(following)
    setTheme(following)
  }
  return [theme, next]
}
