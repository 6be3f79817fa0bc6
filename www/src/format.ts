// Numbers as people read them.

export function bytes(count: number): string {
  if (count < 1000) return `${Math.round(count)} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return 'unknown';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function count(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 0 });
}

/** A number with its noun: 1 run, 1,200 steps. */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** Parameters: 1.3 M, 268 M, 2.6 B. */
export function parameters(value: number): string {
  if (value >= 999.5e6) return `${(value / 1e9).toFixed(1)} B`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(0)} k` : String(value);
}

/** Rounded up: an ε on screen is never below the ε that was computed. */
export function epsilon(value: number): string {
  if (!Number.isFinite(value)) return '∞';
  const digits = value < 10 ? 2 : 1;
  const scale = 10 ** digits;
  // A hair of slack, so that 8 written as 8.000000000000002 does not read 8.01.
  return (Math.ceil(value * scale - 1e-9) / scale).toFixed(digits);
}

/** An error bound, rounded up to one digit: 0.0003. */
export function bound(value: number): string {
  if (!(value > 0 && Number.isFinite(value))) return value === 0 ? '0' : '∞';
  const power = 10 ** Math.floor(Math.log10(value));
  return String(Number((Math.ceil(value / power - 1e-9) * power).toPrecision(1)));
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** δ and learning rates: 1e-5. */
export function scientific(value: number): string {
  return value.toExponential().replace('e+', 'e').replace(/e0$/, '');
}

export function decimals(value: number | null, digits: number): string {
  return value === null || !Number.isFinite(value) ? '–' : value.toFixed(digits);
}

export function ago(milliseconds: number): string {
  const minutes = Math.round((Date.now() - milliseconds) / 60000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}
