import type { ErrorReport } from '../protocol';

/** An error with what the visitor needs to know: what happened, what was kept, what to do. */
export class EngineFailure extends Error {
  constructor(readonly report: ErrorReport) {
    super(report.message);
    this.name = 'EngineFailure';
  }
}

/** Any thrown value as a report; what is not an engine's own error is a defect of the page. */
export function asReport(cause: unknown): ErrorReport {
  if (cause instanceof EngineFailure) return cause.report;
  return {
    code: 'internal',
    message: `Something went wrong inside the page: ${cause instanceof Error ? cause.message : String(cause)}.`,
    kept: 'Rows, ledger, checkpoint and adapters in this browser are untouched.',
    advice: 'Restart the engine. If it happens again, reload the page; it offers your work back.',
  };
}
