/** Light, dark, or the system's setting: stored in this browser. */
import { useState } from 'react'

const THEMES = ['system', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]
const KEY = 'millrace.theme'

export function kept(): Theme {
  const value = localStorage.getItem(KEY)
  return THEMES.find((theme) => theme === value) ?? 'system'
}

export function apply(theme: Theme): void {
  if (theme === 'system') document.documentElement.removeAttribute('data-theme')
  else document.documentElement.dataset['theme'] = theme
}

export function useTheme(): readonly [theme: Theme, next: () => void] {
  const [theme, setTheme] = useState(kept)
  const next = (): void => {
    const following = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] as Theme
    localStorage.setItem(KEY, following)
    apply(following)
    setTheme(following)
  }
  return [theme, next]
}
