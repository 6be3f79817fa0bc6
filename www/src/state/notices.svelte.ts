import { asReport } from '../engine/failure';
import type { ErrorReport } from '../protocol';

/** The section of the page that an error belongs to. */
export type Place = 'model' | 'talk' | 'data' | 'plan' | 'train' | 'compare' | 'adapters';

export interface Notice {
  place: Place;
  report: ErrorReport;
  /** Does again what failed. */
  retry: (() => unknown) | null;
}

/** Errors and warnings on the page: at most one error per section, the latest. */
export class Notices {
  list = $state<Notice[]>([]);
  warnings = $state<{ place: Place; message: string }[]>([]);

  at(place: Place): Notice | undefined {
    return this.list.find((notice) => notice.place === place);
  }

  dismiss(place: Place): void {
    this.list = this.list.filter((notice) => notice.place !== place);
  }

  warn(place: Place, message: string): void {
    if (!this.warnings.some((warning) => warning.message === message)) this.warnings.push({ place, message });
  }

  clearWarnings(place: Place): void {
    this.warnings = this.warnings.filter((warning) => warning.place !== place);
  }

  /** Runs an action of a section; a failure becomes its notice. Returns whether it went well. */
  async attempt(place: Place, action: () => Promise<unknown>, retry: (() => unknown) | null = null): Promise<boolean> {
    this.dismiss(place);
    this.clearWarnings(place);
    try {
      await action();
      return true;
    } catch (cause) {
      this.list = [...this.list.filter((notice) => notice.place !== place), { place, report: asReport(cause), retry }];
      return false;
    }
  }
}
